import argon2
import pytest
from passlib.hash import sha512_crypt

from torchneuron import passwords
from torchneuron.errors import InputError
from torchneuron.passwords import Password

GOOD = "correct-horse-battery"


def test_both_hashes_verify_and_hold_no_password():
    hashes = passwords.hash_password(Password(GOOD, "a"))
    assert argon2.PasswordHasher().verify(hashes.code_server, GOOD)
    assert hashes.code_server.startswith("$argon2id$")
    assert sha512_crypt.verify(GOOD, hashes.account)
    assert hashes.account.startswith("$6$")
    assert GOOD not in hashes.code_server + hashes.account


def test_hashes_are_the_same_again_for_one_origin_and_differ_for_another():
    first = passwords.hash_password(Password(GOOD, "a"))
    assert passwords.hash_password(Password(GOOD, "a")) == first
    other = passwords.hash_password(Password(GOOD, "b"))
    assert other.code_server != first.code_server
    assert other.account != first.account


@pytest.mark.parametrize("weak", ["", "short", "aaaaaaaaaaaaaaaaaaaa", "with\nnewline-and-more"])
def test_weak_passwords_are_refused(weak):
    with pytest.raises(InputError):
        passwords.hash_password(Password(weak, "a"))


def test_random_passwords_are_strong_and_differ():
    made = {passwords.random_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        passwords.check_strength(password)
