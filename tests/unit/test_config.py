import json

import boto3
import pytest

from torchneuron.core import config as settings
from torchneuron.core.config import LocalBackend, S3Backend
from torchneuron.core.errors import InputError
from torchneuron.setup import code_server


@pytest.fixture
def write(tmp_path):
    """Write the project's settings with some changed, and load them."""

    def write(**changes):
        document = json.loads((settings.PROJECT_ROOT / "config.json").read_text())
        document.update(changes)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(document))
        return settings.load(path)

    return write


def test_the_projects_own_settings_are_the_defaults_promised():
    config = settings.load(settings.PROJECT_ROOT / "config.json")
    assert (config.default_instance_type, config.default_region) == ("trn2.3xlarge", "sa-east-1")
    assert (config.default_volume_size, config.code_server_user, config.home_folder) == (
        500,
        "coder",
        "/work",
    )
    assert (config.internal_port, config.nginx_port, config.allowed_ips) == (8080, 80, ())
    assert (config.tls, config.https) == ("off", False)


def test_another_file_is_named_by_the_environment_and_its_paths_are_relative_to_it(tmp_path, write, monkeypatch):
    write(stateDir="state")
    monkeypatch.setenv("TORCHNEURON_CONFIG", str(tmp_path / "config.json"))
    config = settings.load()
    assert config.path == tmp_path / "config.json"
    assert config.state_dir == tmp_path / "state"
    assert config.output_dir == tmp_path / "cdktf.out"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defaultVolumSize": 1}, "did you mean 'defaultVolumeSize'"),
        ({"nginxPort": 70000}, "nginxPort: 70000 is greater than the maximum"),
        ({"codeServerUser": "Not A User"}, "codeServerUser: invalid value 'Not A User'"),
        ({"codeServerUser": "root"}, "codeServerUser: invalid value 'root'"),
        *[
            ({"homeFolder": folder}, f"homeFolder: invalid value '{folder}'")
            for folder in ("/home", "/etc/nginx", "/var/lib", "/work/.cache", "/data//x", "/../x", "work", "/")
        ],
        ({"backend": {"type": "s3", "buckt": "x"}}, "did you mean 'bucket'"),
        ({"backend": {"type": "s3", "bucket": "My_Bucket!"}}, "backend.bucket: invalid value 'My_Bucket!'"),
        ({"backend": {"type": "hcp", "organization": "an-org"}}, "'workspace' is a required property"),
        ({"dataVolumeSize": -1}, "dataVolumeSize: -1 is less than the minimum"),
        ({"internalPort": 80}, "80 is also nginxPort"),
        ({"nginxPort": 22}, "22 is the port of the machine's SSH server"),
        ({"tls": "on"}, "tls: 'on' is not one of"),
        ({"tls": "given", "tlsCertificate": "/etc/ssl/mine.pem"}, 'tlsKey: required if tls is "given"'),
        ({"tls": "given", "tlsKey": "mine.key"}, "tlsKey: invalid value 'mine.key': an absolute path"),
        ({"tls": "self-signed", "nginxPort": 443}, "nginxPort: 443 is the HTTPS port"),
        ({"backend": {"type": "azure"}}, "backend.type: 'azure' is not one of"),
        ({"regions": {"mars-1": {"amiParameter": "/x"}}}, "mars-1"),
    ],
)
def test_bad_settings_are_refused_by_name(write, changes, message):
    with pytest.raises(InputError, match=message):
        write(**changes)


@pytest.mark.parametrize(
    ("setting", "variable"),
    [("codeServerUser", "USER"), ("homeFolder", "HOME_DIR"), ("codeServerVersion", "CODE_SERVER_VERSION")],
)
def test_a_setting_is_allowed_exactly_when_the_setup_takes_it(setting, variable):
    schema = json.loads((settings.PROJECT_ROOT / "config.schema.json").read_text())
    tasks = json.loads((settings.PROJECT_ROOT / "setup_tasks" / "code-server-setup.json").read_text())
    assert schema["properties"][setting]["pattern"] == tasks["variables"][variable]["pattern"]


@pytest.mark.parametrize(("setting", "variable"), [("tlsCertificate", "TLS_CERTIFICATE"), ("tlsKey", "TLS_KEY")])
def test_a_path_is_allowed_exactly_when_the_setup_takes_it_which_also_takes_none(setting, variable):
    schema = json.loads((settings.PROJECT_ROOT / "config.schema.json").read_text())
    tasks = json.loads((settings.PROJECT_ROOT / "setup_tasks" / "code-server-setup.json").read_text())
    pattern = schema["properties"][setting]["pattern"].removeprefix("^").removesuffix("$")
    assert tasks["variables"][variable]["pattern"] == f"^({pattern})?$"


def test_https_may_be_turned_off_with_its_paths_left_in_place(write):
    assert not write(tls="off", tlsCertificate="/etc/ssl/mine.pem", tlsKey="/etc/ssl/mine.key").https
    assert write(nginxPort=443).deployment({}).https is False


def test_the_setup_is_told_of_the_certificate(write):
    config = write(tls="given", tlsCertificate="/etc/letsencrypt/live/me/fullchain.pem", tlsKey="/root/.acme/me.key")
    code_server.check(config)
    variables = code_server.variables(config, code_server.NO_PASSWORD)
    assert [variables[name] for name in ("TLS", "TLS_CERTIFICATE", "TLS_KEY")] == [
        "given",
        "/etc/letsencrypt/live/me/fullchain.pem",
        "/root/.acme/me.key",
    ]


@pytest.mark.attack("ends a setting with a newline, which Python's $ lets through")
@pytest.mark.parametrize(
    "changes",
    [
        {"projectName": "a-project\n"},
        {"codeServerUser": "coder\n"},
        {"codeServerVersion": "4.139.1\n"},
        {"homeFolder": "/work\n"},
        {"tlsKey": "/etc/key\n"},
        {"defaultInstanceType": "trn2.3xlarge\n"},
        {"regions": {"sa-east-1": {"amiParameter": "/aws/image\n"}}},
        {"regions": {"sa-east-1": {"amiParameter": "/aws/image"}, "sa-east-2\n": {"amiParameter": "/aws/image"}}},
        {"backend": {"type": "s3", "bucket": "bucket\n"}},
    ],
    ids=json.dumps,
)
def test_no_setting_ends_with_a_newline(write, changes):
    with pytest.raises(InputError, match=r"\\n"):
        write(**changes)


@pytest.mark.attack("ends an id among the one-off settings with a newline")
@pytest.mark.parametrize(
    "overrides",
    [{"capacityReservationId": "cr-0123456789abcdef0\n", "useCapacityBlock": True}, {"subnetId": "subnet-01234567\n"}],
    ids=json.dumps,
)
def test_no_one_off_setting_ends_with_a_newline(write, overrides):
    with pytest.raises(InputError, match=r"invalid value '.*\\n'"):
        write().deployment(overrides)


def test_a_file_that_is_not_json_is_refused_with_its_line(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{\n  "projectName": nonsense\n}')
    with pytest.raises(InputError, match="Line 2"):
        settings.load(path)


def test_a_deployment_is_the_settings_with_one_off_values_over_them(write):
    deployment = write().deployment({"region": "us-east-2", "volumeSize": 100, "allowedIps": ["203.0.113.7"]})
    assert (deployment.region, deployment.volume_size) == ("us-east-2", 100)
    assert deployment.instance_type == "trn2.3xlarge"
    assert deployment.allowed_ips == ("203.0.113.7/32",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"region": "eu-west-1"}, "'eu-west-1' is not configured"),
        ({"region": "us-gov-west-1"}, "in another AWS partition"),
        ({"regoin": "us-east-2"}, "did you mean 'region'"),
        ({"allowedIps": ["300.1.1.1/8"]}, "not a CIDR block"),
        ({"subnetId": "subnet-XYZ"}, "a subnet's id"),
        ({"capacityReservationId": "cr-0123456789abcdef0"}, "needs --use-capacity-block"),
    ],
)
def test_bad_one_off_settings_are_refused(write, overrides, message):
    with pytest.raises(InputError, match=message):
        write().deployment(overrides)


def test_each_region_has_a_state_of_its_own(write):
    s3 = write(backend={"type": "s3", "bucket": "a-bucket", "region": "us-east-1"})
    assert s3.backend_for("sa-east-1") == S3Backend(
        "a-bucket", "us-east-1", "torchneuron-code-server/sa-east-1/terraform.tfstate"
    )
    local = write(backend={"type": "local"}).backend_for("sa-east-1")
    assert isinstance(local, LocalBackend)
    assert local.path.endswith("terraform-state/torchneuron-code-server-sa-east-1.tfstate")


def test_saving_the_bucket_leaves_the_rest_of_the_file_as_it_is(write):
    config = write()
    before = json.loads(config.path.read_text())
    settings.save_state_bucket(config, "the-bucket", "sa-east-1")
    after = json.loads(config.path.read_text())
    assert after.pop("backend") == {**before.pop("backend"), "bucket": "the-bucket", "region": "sa-east-1"}
    assert after == before


EVERYONE = [
    ["0.0.0.0/0"],
    ["203.0.113.7", "::/0"],
    ["0.0.0.0/1", "128.0.0.0/1"],
    ["128.0.0.0/1"],
    [f"{first}.0.0.0/8" for first in (11, 12)],
    ["2000::/3"],
    ["2600::/12"],
]


@pytest.mark.attack("opens the machine to nearly the whole internet without having to say so")
@pytest.mark.parametrize("cidrs", EVERYONE, ids=" ".join)
def test_everyone_is_let_in_only_when_that_is_said_also_in_parts(write, cidrs):
    config = write(tls="self-signed")
    with pytest.raises(InputError, match="open the machine to everyone"):
        config.check({"allowedIps": cidrs})
    with pytest.raises(InputError, match="open the machine to everyone"):
        write(allowedIps=cidrs).deployment({})
    opened = config.deployment({"allowedIps": cidrs, "openToWorld": True})
    assert opened.open_to_world
    assert len(opened.allowed_ips) == len(cidrs)


@pytest.mark.attack("opens the machine to everyone over plain HTTP")
@pytest.mark.parametrize("cidrs", EVERYONE, ids=" ".join)
def test_everyone_is_let_in_over_https_only(write, cidrs):
    for config, given in ((write(), {"allowedIps": cidrs}), (write(allowedIps=cidrs), {})):
        with pytest.raises(InputError, match="needs HTTPS"):
            config.deployment({**given, "openToWorld": True})
        with pytest.raises(InputError, match="needs HTTPS"):
            config.check({**given, "openToWorld": True})


@pytest.mark.parametrize("cidrs", [["203.0.113.0/24", "2001:db8::/32"], ["10.0.0.0/8", "172.16.0.0/12", "12.0.0.0/8"]])
def test_networks_that_somebody_has_are_not_everyone(write, cidrs):
    assert len(write().deployment({"allowedIps": cidrs}).allowed_ips) == len(cidrs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extensions": ["no-publisher"]}, "extensions[0]: invalid value 'no-publisher'"),
        ({"extensions": ["a.b", "a.b"]}, "non-unique"),
        ({"extensions": ["a.b@latest"]}, "publisher.name@1.2.3"),
        ({"extensions": ["--install-extension"]}, "extensions[0]"),
        ({"codeServerSha256": {"amd64": "A" * 64}}, "codeServerSha256.amd64"),
        ({"codeServerSha256": {"x86": "a" * 64}}, "unknown name 'x86'"),
    ],
)
def test_bad_extensions_and_sums_are_refused(write, changes, message):
    with pytest.raises(InputError) as refused:
        write(**changes)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "extensions", "sums"),
    [
        ({}, " ".join(settings.EXTENSIONS), ""),
        ({"extensions": [], "codeServerSha256": {"arm64": "b" * 64, "amd64": "a" * 64}}, "", None),
        ({"extensions": ["A.b@1.2.3", "c-d.e_f"]}, "A.b@1.2.3 c-d.e_f", ""),
    ],
)
def test_the_setup_takes_the_extensions_and_sums(write, changes, extensions, sums):
    config = write(**changes)
    code_server.check(config)
    values = code_server.variables(config, code_server.NO_PASSWORD)
    assert values["EXTENSIONS"] == extensions
    assert values["CODE_SERVER_SHA256"] == (f"amd64={'a' * 64} arm64={'b' * 64}" if sums is None else sums)


def test_an_address_named_twice_is_one_rule(write):
    deployment = write().deployment({"allowedIps": ["203.0.113.7", "203.0.113.7/32"]})
    assert deployment.allowed_ips == ("203.0.113.7/32",)


def test_a_data_volume_needs_a_zone(write):
    config = write(dataVolumeSize=100)
    with pytest.raises(InputError, match="needs a subnet"):
        config.deployment({})
    assert config.deployment({"subnetId": "subnet-0123456789abcdef0"}).data_volume_size == 100
    assert config.deployment({"useCapacityBlock": True}).data_volume_size == 100
    assert config.deployment({"dataVolumeSize": 0}).data_volume_size == 0


def test_a_workspace_may_be_named_by_region(write):
    hcp = write(backend={"type": "hcp", "organization": "an-org", "workspace": "code-{region}-x"})
    assert hcp.backend_for("us-east-2") == settings.HcpBackend("an-org", "code-us-east-2-x")


def test_every_partition_but_the_commercial_one_is_known_by_its_regions():
    session = boto3.Session()
    others = [name for name in session.get_available_partitions() if name != "aws"]
    regions = {name: session.get_available_regions("ec2", partition_name=name) for name in others}
    assert regions["aws-us-gov"]
    assert all(region.startswith(settings._OTHER_PARTITIONS) for found in regions.values() for region in found)
    assert not any(region.startswith(settings._OTHER_PARTITIONS) for region in session.get_available_regions("ec2"))
