# The charts and manifests that belong to the host layer, each fetched by hash: no chart is downloaded by a running
# cluster. Hashes: the digests in the charts' own indexes; NAR hash of the tagged tree for flannel.
{ pkgs }:
let
  inherit (pkgs) lib;
  pins = builtins.fromJSON (builtins.readFile ./charts.json);
  source =
    name: pin:
    if name == "flannel" then
      "${pkgs.fetchzip { inherit (pin) url hash; }}/chart/kube-flannel"
    else
      pkgs.fetchurl { inherit (pin) url hash; };
in
rec {
  charts = lib.mapAttrs (name: pin: pin // { source = source name pin; }) pins;

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
      '';
}
