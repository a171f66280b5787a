"""Who published records: an SSH signature beside them, made and checked by ``ssh-keygen`` alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from dlcompare.core.errors import UsageError
from dlcompare.core.files import write
from dlcompare.core.printable import in_one_line

PROGRAM, NAMESPACE, SUFFIX = "ssh-keygen", "dlcompare", ".sig"
SECONDS = 30  # in which a signature is checked
SIGNERS = "allowed_signers"  # in the user's configuration folder: a line for each, NAME KEY; see ssh-keygen(1)


def sign(file: Path, key: Path) -> Path:
    """Write the signature of a file beside it and return its path; the key's passphrase is asked for on the terminal.

    Raises:
        UsageError: there is no ssh-keygen, or it cannot sign with this key.
    """
    if shutil.which(PROGRAM) is None:
        raise UsageError(f"{PROGRAM} is not on PATH, and it is what signs; install OpenSSH's client (on Debian and "
                         "Ubuntu: apt-get install openssh-client)")
    with file.open("rb") as data:
        done = subprocess.run([PROGRAM, "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key)], stdin=data,
                              capture_output=True, text=True)
    if done.returncode:
        raise UsageError(f"cannot sign with {key}: {in_one_line(done.stderr) or 'ssh-keygen gives no reason'}; name a "
                         "private SSH key, such as one that ssh-keygen -t ed25519 makes")
    path = file.with_name(file.name + SUFFIX)
    write(path, done.stdout)
    return path


def verdict(file: Path, signers: Path | None = None) -> str | None:
    """Return in one line by whom a file is signed, and whether it is still what was signed; None if it is not signed.

    ``signers`` lists whom one knows, by default the user's own list; a key that is not in it is only named. Raises
    UsageError if it is no file.
    """
    if signers and not signers.is_file():
        raise UsageError(f"there is no list of signers {str(signers)!r}; name a file with a line NAME KEY for each")
    signature = file.with_name(file.name + SUFFIX)
    if not signature.is_file():
        return None
    if shutil.which(PROGRAM) is None:
        return f"{signature} is not checked, for {PROGRAM} is not on PATH; install OpenSSH's client"
    known = signers or own_signers()
    name = signer(file, signature, known)
    intact = ("check-novalidate", "-n", NAMESPACE, "-s", str(signature))
    how = ("verify", "-f", str(known), "-I", name, *intact[1:]) if name else intact
    done = run(file, *how)
    if done.returncode and name and not (bare := run(file, *intact)).returncode:
        return (f"{file} is what was signed, but {known} does not accept the key for {name} "
                f"({in_one_line(done.stderr + done.stdout)}): {in_one_line(bare.stdout)}")
    if done.returncode:
        return (f"SIGNATURE DOES NOT FIT: {file} is not what was signed ({in_one_line(done.stderr + done.stdout)}); "
                "get it anew from whoever published it")
    by = f"by {name}" if name else f"by a key that {known} does not list"
    return f"{file} is signed {by}: {in_one_line(done.stdout)}"


def signer(file: Path, signature: Path, known: Path) -> str:
    """Return the name that a list of signers has for the key of a signature, "" for none."""
    if not known.is_file():
        return ""
    return run(file, "find-principals", "-f", str(known), "-s", str(signature)).stdout.partition("\n")[0]


def run(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Return what ssh-keygen says of a file; a failure if it takes too long."""
    command = [PROGRAM, "-Y", *words]
    with file.open("rb") as data:
        try:
            return subprocess.run(command, stdin=data, capture_output=True, text=True, errors="replace",
                                  timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"{PROGRAM} took more than {SECONDS} s")


def own_signers() -> Path:
    """Return where the user's list of known signers is, if there is one."""
    import platformdirs

    return Path(platformdirs.user_config_dir("dlcompare")) / SIGNERS
