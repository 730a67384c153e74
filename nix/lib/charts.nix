# The charts and manifests that belong to the host layer, each fetched by hash: no chart is downloaded by a running
# cluster. Hashes: the digests in the charts' own indexes; the NAR hash of the tagged tree for a chart in a `folder` of it.
{ pkgs }:
let
  inherit (pkgs) lib;
  pins = builtins.fromJSON (builtins.readFile ./charts.json);
  source =
    pin:
    if pin ? folder then
      "${pkgs.fetchzip { inherit (pin) url hash; }}/${pin.folder}"
    else
      pkgs.fetchurl { inherit (pin) url hash; };
in
rec {
  charts = lib.mapAttrs (_: pin: pin // { source = source pin; }) pins;

  # A chart as one archive, as k3s wants it.
  archive =
    name:
    let
      chart = charts.${name};
    in
    if chart ? folder then
      pkgs.runCommand "${name}-${chart.version}.tgz" { nativeBuildInputs = [ pkgs.kubernetes-helm ]; } ''
        export HOME=$TMPDIR
        helm package ${chart.source}
        mv ${name}-${chart.version}.tgz "$out"
      ''
    else
      chart.source;

  # The Gateway API's own definitions (standard channel), one file.
  gatewayApi =
    let
      pin = builtins.fromJSON (builtins.readFile ./gateway-api.json);
      file =
        name: hash:
        pkgs.fetchurl {
          url = "${pin.url}/${name}";
          inherit hash;
        };
    in
    pkgs.runCommand "gateway-api-${pin.version}.yaml" { } (
      lib.concatLines (
        lib.mapAttrsToList (name: hash: "{ cat ${file name hash}; printf '\\n---\\n'; } >>\"$out\"") pin.files
      )
    );

  # A chart as plain manifests, made in the build: for clusters without k3s' Helm controller.
  template =
    name: values:
    let
      chart = charts.${name};
    in
    pkgs.runCommand "${name}-${chart.version}.yaml"
      {
        nativeBuildInputs = [ pkgs.kubernetes-helm ];
        values = builtins.toJSON values;
        passAsFile = [ "values" ];
      }
      ''
        export HOME=$TMPDIR
        printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n---\n' ${chart.namespace} >"$out"
        helm template ${name} ${chart.source} --namespace ${chart.namespace} --include-crds --kube-version 1.36.0 \
          --values "$valuesPath" >>"$out"
        # Everybody may read the store: a key in base64, as a Secret has it, begins like a certificate does.
        if grep -nE 'LS0tLS1CRUdJTi|-----BEGIN [A-Z ]*PRIVATE KEY' "$out"; then
          echo "the chart ${name} makes keys itself: let a job in the cluster make them" >&2
          exit 1
        fi
      '';
}
