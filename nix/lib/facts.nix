# Reads the facts of a stack and refuses unknown, missing and wrong fields: with builtins alone, so that a plain
# `nix-instantiate` can run it. The typed options of modules/facts.nix refuse the same through the module system.
#
#   cluster FILE            the checked facts of cluster.json
#   host FILE               the checked facts of one host
#   stack FOLDER            { cluster, hosts } of a folder, checked together
let
  inherit (builtins)
    attrNames
    concatLists
    concatStringsSep
    elem
    filter
    fromJSON
    genList
    getAttr
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    listToAttrs
    map
    match
    readDir
    readFile
    stringLength
    substring
    toJSON
    ;

  # A check is a value's path and the value, giving a list of faults.
  fault = path: value: what: [ "${path}: ${toJSON value} is not ${what}" ];
  test = what: ok: path: value: if ok value then [ ] else fault path value what;

  octet = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])";
  ip = "${octet}(\\.${octet}){3}";
  re = what: pattern: test what (v: isString v && match pattern v != null);
  oneOf = values: test "one of ${concatStringsSep ", " values}" (v: isString v && elem v values);

  text = test "text" isString;
  bool = test "true or false" isBool;
  address = re "an IPv4 address" ip;
  cidr = re "an IPv4 range" "${ip}/(3[0-2]|[12]?[0-9])";
  label = re "a DNS label" "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
  domain = re "a DNS name" "[a-z0-9]([-a-z0-9.]*[a-z0-9])?";
  url = re "an https URL of a host and a port" "https://[a-z0-9.-]+(:[0-9]+)?";
  disk = re "a disk by its id" "/dev/disk/by-id/[A-Za-z0-9._:+@=-]+";
  between = low: high: test "a number from ${toString low} to ${toString high}" (v: isInt v && low <= v && v <= high);
  port = between 1 65535;
  version = test "schema version 1, the only one these modules know" (v: v == 1);

  nullOr = check: path: value: if value == null then [ ] else check path value;
  listOf =
    check: path: value:
    if isList value then
      concatLists (genList (n: check "${path}[${toString n}]" (builtins.elemAt value n)) (length value))
    else
      fault path value "a list";
  attrsOf =
    check: path: value:
    if isAttrs value then
      concatLists (map (name: check "${path}.${name}" (getAttr name value)) (attrNames value))
    else
      fault path value "a set";
  record =
    fields: path: value:
    let
      at = name: if path == "" then name else "${path}.${name}";
    in
    if !isAttrs value then
      fault path value "a set"
    else
      concatLists (
        map (
          name:
          if !(fields ? ${name}) then
            [ "${at name}: unknown" ]
          else if !(value ? ${name}) then
            [ "${at name}: missing" ]
          else
            fields.${name} (at name) value.${name}
        ) (attrNames (fields // value))
      );

  clusterFields = record {
    schemaVersion = version;
    stack = label;
    cluster = record {
      name = label;
      domain = domain;
      distribution = oneOf [
        "k3s"
        "kubeadm"
      ];
      podCidr = cidr;
      serviceCidr = cidr;
      clusterDns = address;
      clusterDomain = domain;
      api = record {
        endpoint = url;
        sans = listOf domain;
      };
      secretsEncryption = bool;
      auditLog = bool;
      issuerHost = nullOr domain;
      authorizedKeys = listOf (re "an SSH public key" "(ssh|ecdsa|sk)-[a-z0-9@.-]+ .+");
      storage = listOf (oneOf [
        "longhorn"
        "openebs"
      ]);
      servers = listOf (record {
        name = label;
        role = oneOf [
          "primer"
          "server"
        ];
        inherit address;
        meshName = domain;
      });
    };
    network = record {
      cni = oneOf [
        "cilium"
        "flannel"
        "calico"
      ];
      encryption = oneOf [
        "wireguard"
        "none"
      ];
      loadBalancer = oneOf [
        "metallb"
        "cilium"
      ];
      gateway = oneOf [
        "traefik"
        "cilium"
        "nginx"
      ];
      gatewayAddress = nullOr address;
      serviceMesh = oneOf [
        "none"
        "cilium"
        "linkerd"
        "istio"
      ];
    };
    mesh = record {
      serverUrl = url;
      domain = domain;
      prefix = cidr;
      tls = oneOf [
        "private"
        "acmeDns"
        "file"
      ];
      derp = record {
        regionId = between 900 999;
        publicMap = bool;
      };
    };
    gitops = record {
      engine = oneOf [
        "flux"
        "argocd"
      ];
    };
  };

  hostFields = record {
    schemaVersion = version;
    name = label;
    role = oneOf [
      "primer"
      "server"
      "agent"
      "edge"
    ];
    remote = bool;
    inherit address disk;
    mac = re "a MAC address" "([0-9a-f]{2}:){5}[0-9a-f]{2}";
    site = record {
      name = label;
      inherit cidr;
      gateway = address;
      nameservers =
        path: value: if value == [ ] then [ "${path}: is empty" ] else listOf address path value;
      addressing = oneOf [
        "static"
        "dhcp-reservation"
      ];
    };
    ssh = record {
      inherit port;
      initrdPort = port;
      user = re "a user name" "[a-z_][a-z0-9_-]{0,30}";
    };
    diskGuid = re "a GUID in lower case" "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
    osdDisks = listOf disk;
    hostId = re "a host id of eight hexadecimal digits" "[0-9a-f]{8}";
    installGeneration = between 1 1000000;
    layout = oneOf [
      "zfs-luks"
      "ext4-luks"
    ];
    unlock = oneOf [
      "tpm2"
      "remote"
      "both"
    ];
    meshName = domain;
    meshRoutes = listOf cidr;
    zone = label;
    labels = attrsOf text;
    taints = listOf (record {
      key = re "a taint's key" ".+";
      value = text;
      effect = oneOf [
        "NoSchedule"
        "PreferNoSchedule"
        "NoExecute"
      ];
    });
    offsite = nullOr (record {
      bucket = re "a bucket's name" "[a-z0-9][a-z0-9-]{1,61}[a-z0-9]";
      region = re "a region of AWS" "[a-z]{2}(-[a-z]+)+-[0-9]";
      roleArn = re "a role's ARN" "arn:aws[a-z-]*:iam::[0-9]{12}:role/.+";
      everyHours = between 1 12;
      zfsDays = between 1 7;
      datasets = listOf label;
      rclone = attrsOf text;
    });
    pools = attrsOf (record {
      region = re "a region of AWS" "[a-z]{2}(-[a-z]+)+-[0-9]";
      parameter = re "a parameter's name" "/[A-Za-z0-9_./-]+";
      keyId = re "a key's alias" "alias/[A-Za-z0-9/_-]+";
      roleArn = re "a role's ARN" "arn:aws[a-z-]*:iam::[0-9]{12}:role/.+";
      tags =
        path: value:
        if value == [ ] then
          [ "${path}: is empty" ]
        else
          listOf (re "a tag of the mesh" "tag:[a-z0-9-]+") path value;
      keyHours = between 13 168;
    });
  };

  # What one file's fields say of each other.
  hostRules =
    f:
    let
      say = condition: what: if condition then [ what ] else [ ];
    in
    say (elem f.disk f.osdDisks) "osdDisks: contains the system disk ${f.disk}"
    ++ say (f.remote && elem f.role [ "primer" "server" ]) "remote: is set on a ${f.role}, but etcd stays on one network"
    ++ say (f.ssh.port == f.ssh.initrdPort) "ssh.initrdPort: equals ssh.port, but the two servers have different keys"
    ++ say (f.offsite != null && !(elem f.role [ "primer" "server" ])) "offsite: is set on a ${f.role}, but only servers can get tokens for AWS"
    ++ say (f.pools != { } && f.role != "primer") "pools: are set on a ${f.role}, but only the primer can mint keys"
    ++ say (f.name == "cluster") "name: cluster.json holds the cluster's facts, no host may have this name";
  clusterRules =
    f:
    let
      primers = filter (s: s.role == "primer") f.cluster.servers;
      meshHost = head (match "https://([^:]+)(:[0-9]+)?" f.mesh.serverUrl);
      suffix = ".${f.mesh.domain}";
      at = stringLength ".${meshHost}" - stringLength suffix;
      inside = at >= 0 && substring at (stringLength suffix) ".${meshHost}" == suffix;
      say = condition: what: if condition then [ what ] else [ ];
    in
    say (length primers != 1) "cluster.servers: names ${toString (length primers)} primers, not one"
    ++ say (primers != [ ] && head f.cluster.servers != head primers) "cluster.servers: does not name the primer first"
    ++ say (f.cluster.podCidr == f.cluster.serviceCidr) "cluster.serviceCidr: equals podCidr"
    ++ say inside "mesh.serverUrl: ${meshHost} lies inside mesh.domain ${f.mesh.domain}, which Headscale refuses";

  cure = "Run `keystone facts`; facts are not edited by hand";
  refuse =
    file: faults:
    throw "${toString file}: ${concatStringsSep "; " faults}. ${cure}.";
  read =
    fields: rules: file:
    let
      value = fromJSON (readFile file);
      wrong = fields "" value;
      contradictions = rules value;
    in
    if wrong != [ ] then
      refuse file wrong
    else if contradictions != [ ] then
      refuse file contradictions
    else
      value;
in
rec {
  cluster = read clusterFields clusterRules;
  host = read hostFields hostRules;
  stack =
    folder:
    let
      stem = file: head (match "(.*)\\.json" file);
      files = filter (file: match ".*\\.json" file != null) (attrNames (readDir folder));
      names = filter (name: name != "cluster") (map stem files);
      file = name: folder + "/${name}.json";
      facts = cluster (file "cluster");
      hosts = listToAttrs (
        map (name: {
          inherit name;
          value = host (file name);
        }) names
      );
      servers = map (s: s.name) facts.cluster.servers;
      controlPlane = filter (n: elem hosts.${n}.role [ "primer" "server" ]) names;
      faults = concatLists (
        map (
          n:
          (if hosts.${n}.name == n then [ ] else [ "${n}.json: name: is ${hosts.${n}.name}" ])
          ++ (
            if elem n servers == elem n controlPlane then [ ] else [ "${n}.json: role: ${hosts.${n}.role} and cluster.servers disagree" ]
          )
        ) names
        ++ map (s: if elem s names then [ ] else [ "cluster.json: cluster.servers: ${s} has no facts" ]) servers
      );
    in
    if faults == [ ] then
      {
        cluster = facts;
        inherit hosts;
      }
    else
      refuse folder faults;
}
