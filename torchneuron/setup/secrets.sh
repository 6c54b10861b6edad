# shellcheck shell=bash
# Values of secrets: read from AWS with the credentials of the machine's role, or delivered by the operator for one run.
# None is ever an argument of a process: curl reads its options from standard input.

# secret NAME REFERENCE [VERSION]: exports the variable NAME. Any name works, even one that is used here.
secret() {
  local value
  case $2 in
    given:*) value=$(get_given "${2#given:}/$1") ;;
    secretsmanager:*) value=$(get_secret "${2#secretsmanager:}" "${3-}") ;;
    ssm:*) value=$(get_parameter "${2#ssm:}") ;;
  esac || {
    echo "no value for $1: $value" >&2
    return 1
  }
  declare -gx -- "$1=$value"
}

get_given() { # RUN/NAME
  cat "/run/torchneuron/given/$1" 2>/dev/null && return
  echo "it was given for an earlier run, or before a reboot; give it again"
  return 1
}

get_secret() { # ARN VERSION
  local request="{\\\"SecretId\\\": \\\"$1\\\"${2:+, \\\"VersionId\\\": \\\"$2\\\"}}"
  as_role secretsmanager "$(cut -d : -f 4 <<<"$1")" secretsmanager.GetSecretValue "$request" SecretString
}

get_parameter() { # NAME
  local request="{\\\"Name\\\": \\\"$1\\\", \\\"WithDecryption\\\": true}"
  as_role ssm "$(metadata placement/region)" AmazonSSM.GetParameter "$request" Parameter.Value
}

# as_role SERVICE REGION OPERATION REQUEST FIELD: prints a field of the response, or the reason of a failure.
as_role() {
  local role credentials key secret token answer domain=amazonaws.com pause
  if ! { role=$(metadata iam/security-credentials/) && credentials=$(metadata "iam/security-credentials/$role") &&
    key=$(field AccessKeyId <<<"$credentials") && secret=$(field SecretAccessKey <<<"$credentials") &&
    token=$(field Token <<<"$credentials"); }; then
    echo "this machine has no credentials of a role"
    return 1
  fi
  [[ $2 != cn-* ]] || domain=amazonaws.com.cn
  # IAM is eventually consistent: a new role's policy may take seconds to apply.
  for pause in 1 2 4 8 0; do
    if answer=$(curl --disable --silent --show-error --fail-with-body --max-time 30 --config - 2>&1 <<CONFIG
url = "https://$1.$2.$domain/"
aws-sigv4 = "aws:amz:$2:$1"
user = "$key:$secret"
header = "X-Amz-Security-Token: $token"
header = "X-Amz-Target: $3"
header = "Content-Type: application/x-amz-json-1.1"
data = "$4"
CONFIG
    ); then
      field "$5" <<<"$answer"
      return
    fi
    [[ $answer != *NotFound* ]] || break
    sleep "$pause"
  done
  echo "$answer"
  return 1
}

metadata() { # PATH
  local token address=http://169.254.169.254/latest
  token=$(ask_metadata <<<"url = \"$address/api/token\"
request = \"PUT\"
header = \"X-aws-ec2-metadata-token-ttl-seconds: 60\"") &&
    ask_metadata <<<"url = \"$address/meta-data/$1\"
header = \"X-aws-ec2-metadata-token: $token\""
}
ask_metadata() { curl --disable --silent --fail --noproxy '*' --connect-timeout 3 --max-time 10 --retry 3 --config -; }

field() { # NAME[.NAME], of JSON
  python3 -c 'import functools, json, sys
sys.stdout.write(functools.reduce(dict.__getitem__, sys.argv[1].split("."), json.load(sys.stdin)))' "$1" 2>/dev/null &&
    return
  echo "the answer has no text $1"
  return 1
}
