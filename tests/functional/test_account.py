"""Commands name the account, the caller and the credentials before they spend or change anything."""

import pytest

from torchneuron.aws import account

REGION = "sa-east-1"
CALLER = "arn:aws:sts::123456789012:user/moto"


@pytest.mark.attack(
    "makes a newcomer buy in the wrong account, since keys in the environment take precedence over AWS_PROFILE"
)
def test_purchase_names_the_account_and_credentials(invoke, client, proposed, monkeypatch, tmp_path, control):
    client("iam").create_account_alias(AccountAlias="ml-team")
    (tmp_path / "aws-config").write_text("[profile other]\naws_access_key_id=other\naws_secret_access_key=other\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_PROFILE", "other")
    shown = invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--dry-run").out
    assert "Account        123456789012 (ml-team)\n" in shown
    assert f"Caller         {CALLER}\n" in shown
    assert "Credentials    keys in the environment; AWS_PROFILE=other is not used\n" in shown
    assert control("calls")["sts"]["GetCallerIdentity"] == 1


def test_extension_names_the_account_and_credentials(invoke, bought):
    shown = invoke("cb.extend", "--reservation-id", bought, "-d", "24", "-r", REGION, "--dry-run").out
    assert "Account        123456789012\n" in shown
    assert "Credentials    keys in the environment\n" in shown


def test_unreadable_alias_is_left_out(aws, fail, capsys):
    fail("ListAccountAliases", "error", code="AccessDenied", times=None)
    assert account.announce(aws).name == "123456789012"
    expected = f"Account 123456789012, as {CALLER}; credentials: keys in the environment.\n"
    assert capsys.readouterr().err == expected


@pytest.fixture
def profiles(tmp_path, monkeypatch, rehearsal_endpoint):
    """Sets credentials that only come from a profile with these lines."""

    def use(lines):
        (tmp_path / "aws-config").write_text(f"[profile work]\n{lines}")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    return use


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("aws_access_key_id={}\naws_secret_access_key={}", "profile work (keys in the config file)"),
        (
            'credential_process=echo \'{{"Version": 1, "AccessKeyId": "{}", "SecretAccessKey": "{}"}}\'',
            "profile work (credential process)",
        ),
    ],
)
def test_credentials_name_their_profile(profiles, server, lines, expected):
    from torchneuron.aws.session import Aws

    profiles(lines.format(server.access.access_key_id, server.access.secret_access_key))
    assert account.current(Aws(REGION)).credentials == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("sso", "profile work (SSO)"),
        ("assume-role", "profile work (assumed role)"),
        ("login", "profile work (aws login)"),
        ("shared-credentials-file", "profile work (keys in the credentials file)"),
        ("assume-role-with-web-identity", "web identity token"),
        ("container-role", "container role"),
        ("iam-role", "instance role"),
        ("of-the-future", "of-the-future"),
        ("env", "keys in the environment; AWS_PROFILE=work is not used"),
    ],
)
def test_every_source_of_credentials_has_a_name(method, expected):
    assert account.source(method, "work", {"AWS_PROFILE": "work"}) == expected
