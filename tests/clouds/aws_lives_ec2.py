"""Lives of networks and machines at EC2; see aws_lives.py."""

from tests.clouds.aws_life import Life

NETWORK = [
    Life(
        "aws:ec2/vpc:Vpc",
        "vpc",
        {"cidrBlock": "10.60.0.0/20", "enableDnsHostnames": True},
        {"enableDnsHostnames": False, "tags": {"Name": "v"}},
        {"cidrBlock": "10.61.0.0/20"},
    ),
    Life(
        "aws:ec2/subnet:Subnet",
        "subnet",
        {"vpcId": "${vpc}", "cidrBlock": "10.60.0.0/24", "availabilityZone": "eu-central-1a"},
        {"mapPublicIpOnLaunch": True, "tags": {"Name": "s"}},
        {"cidrBlock": "10.60.2.0/24"},
    ),
    Life("aws:ec2/internetGateway:InternetGateway", "gateway", {"vpcId": "${vpc}"}, {"tags": {"Name": "g"}}),
    Life("aws:ec2/eip:Eip", "address", {"domain": "vpc"}, {"tags": {"Name": "a"}}),
    Life(
        "aws:ec2/natGateway:NatGateway",
        "nat",
        {"subnetId": "${subnet}", "allocationId": "${address}"},
        {"tags": {"Name": "n"}},
    ),
    Life("aws:ec2/routeTable:RouteTable", "table", {"vpcId": "${vpc}"}, {"tags": {"Name": "t"}}),
    Life(
        "aws:ec2/route:Route",
        "route",
        {"routeTableId": "${table}", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "${gateway}"},
        {"gatewayId": None, "natGatewayId": "${nat}"},
        {"destinationCidrBlock": "192.0.2.0/24"},
        "${table}_0.0.0.0/0",
    ),
    Life(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "association",
        {"routeTableId": "${table}", "subnetId": "${subnet}"},
        imported="${subnet}/${table}",
    ),
    Life(
        "aws:ec2/securityGroup:SecurityGroup",
        "group",
        {"vpcId": "${vpc}", "description": "machines"},
        {"tags": {"Name": "x"}},
        {"description": "other"},
    ),
    Life(
        "aws:ec2/securityGroup:SecurityGroup",
        "inline",
        {
            "vpcId": "${vpc}",
            "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
            "ingress": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "self": True}],
        },
        {"egress": [{"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["0.0.0.0/0"]}], "ingress": []},
    ),
    Life(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "out",
        {"securityGroupId": "${group}", "ipProtocol": "udp", "fromPort": 3478, "toPort": 3478, "cidrIpv4": "0.0.0.0/0"},
        {"tags": {"Name": "stun"}},
        {"toPort": 3479},
    ),
    Life(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "in",
        {"securityGroupId": "${group}", "ipProtocol": "-1", "referencedSecurityGroupId": "${inline}"},
        {"tags": {"Name": "all"}},
    ),
    Life(
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "endpoint",
        {"vpcId": "${vpc}", "serviceName": "com.amazonaws.eu-central-1.s3", "routeTableIds": ["${table}"]},
        {"tags": {"Name": "e"}},
    ),
]
MACHINES = [
    Life(
        "aws:ec2/launchTemplate:LaunchTemplate",
        "template",
        {
            "imageId": "ami-0123456789abcdef0",
            "vpcSecurityGroupIds": ["${group}"],
            "iamInstanceProfile": {"arn": "${profile.arn}"},
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1, "httpEndpoint": "enabled"},
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvda",
                    "ebs": {"encrypted": "true", "kmsKeyId": "${key.arn}", "volumeSize": 30, "volumeType": "gp3"},
                }
            ],
            "userData": "YQ==",
            "tagSpecifications": [{"resourceType": "instance", "tags": {"keystone-parameters": "/p"}}],
            "updateDefaultVersion": True,
        },
        {"userData": "Yg==", "tags": {"a": "b"}},
        {"name": "other"},
        told=("updateDefaultVersion",),
    ),
    Life(
        "aws:autoscaling/group:Group",
        "pool",
        {
            "minSize": 0,
            "maxSize": 3,
            "desiredCapacity": 2,
            "vpcZoneIdentifiers": ["${subnet}"],
            "mixedInstancesPolicy": {
                "launchTemplate": {
                    "launchTemplateSpecification": {"launchTemplateId": "${template}", "version": "$Latest"},
                    "overrides": [{"instanceType": "t3.medium"}, {"instanceType": "t3a.medium"}],
                },
                "instancesDistribution": {"onDemandBaseCapacity": 1, "onDemandPercentageAboveBaseCapacity": 0},
            },
            "capacityRebalance": True,
            "suspendedProcesses": ["AZRebalance"],
            "initialLifecycleHooks": [
                {
                    "name": "drain",
                    "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                    "heartbeatTimeout": 300,
                }
            ],
            "tags": [{"key": "Name", "value": "x", "propagateAtLaunch": True}],
        },
        {"maxSize": 5, "desiredCapacity": 3, "tags": [{"key": "Name", "value": "y", "propagateAtLaunch": False}]},
        {"name": "other"},
        told=("initialLifecycleHooks", "waitForCapacityTimeout"),
    ),
    Life(
        "aws:autoscaling/lifecycleHook:LifecycleHook",
        "hook",
        {
            "autoscalingGroupName": "${pool.name}",
            "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "defaultResult": "CONTINUE",
        },
        {"heartbeatTimeout": 400},
        {"name": "other"},
        "${pool.name}/${self}",
    ),
]
