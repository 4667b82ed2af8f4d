"""The audit chain: any edit, deletion, swap, insertion or truncation is found; a crash is survived."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pollux.autonomy.audit import (
    GENESIS,
    AuditLog,
    Head,
    check,
    open_head,
    plain,
    seal,
    seal_head,
    verify,
    verify_lines,
)
from pollux.core.errors import CorruptionError, FencedError, StoreError

KEY = b"k" * 32


def chain(n, key=KEY):
    head, lines = Head(0, GENESIS), []
    for k in range(n):
        line, head = seal(key, head, 1000.0 + k, "command", {"values": {"q": 0.01 * k}, "by": f"user:{k}"})
        lines.append(line)
    return lines, head


@st.composite
def tampered(draw):
    n = draw(st.integers(2, 8))
    lines, head = chain(n)
    kind = draw(st.sampled_from(["edit", "delete", "swap", "duplicate", "cut", "insert", "rekey", "resign"]))
    k = draw(st.integers(0, n - 1))
    if kind == "edit":
        i = draw(st.integers(0, len(lines[k]) - 1))
        byte = draw(st.integers(0, 255).filter(lambda b: b != lines[k][i]))
        lines[k] = lines[k][:i] + bytes([byte]) + lines[k][i + 1 :]
        lines = b"".join(lines).splitlines(keepends=True)
    elif kind == "delete":
        del lines[k]
    elif kind == "swap":
        j = draw(st.integers(0, n - 1).filter(lambda j: j != k))
        lines[k], lines[j] = lines[j], lines[k]
    elif kind == "duplicate":
        lines.insert(draw(st.integers(0, n)), lines[k])
    elif kind == "cut":
        lines = lines[:k]
    elif kind == "insert":
        lines.insert(k, chain(1)[0][0].replace(b"user:0", b"user:9"))
    elif kind == "rekey":
        lines = lines[:k] + chain(n, b"x" * 32)[0][k:]
    else:
        record = json.loads(lines[k])
        record["body"]["by"] = "user:somebody else"
        lines[k] = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    return lines, head, chain(n)[0]


@settings(max_examples=400)
@given(tampered())
def test_any_tampering_is_found(case):
    lines, head, original = case
    assert verify_lines(KEY, original, head).ok
    if lines == original:
        return
    report = verify_lines(KEY, lines, head)
    assert not report.ok
    assert report.first_bad is not None
    assert report.reason


@given(st.integers(0, 40), st.integers(0, 255))
def test_a_head_that_was_edited_is_found(at, byte):
    content = seal_head(KEY, chain(3)[1])
    bad = content[:at] + bytes([byte]) + content[at + 1 :]
    if bad != content:
        with pytest.raises(CorruptionError):
            open_head(KEY, bad)


def test_another_key_verifies_nothing():
    lines, head = chain(3)
    assert not verify_lines(b"y" * 32, lines, head).ok
    with pytest.raises(CorruptionError):
        check(KEY, Head(0, GENESIS), b'{"mac": "\\ud800"}\n')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), st.floats())
def test_whatever_is_recorded_can_be_verified(body, t):
    line, head = seal(KEY, Head(0, GENESIS), t, "refusal", body)
    assert line.count(b"\n") == 1
    assert check(KEY, Head(0, GENESIS), line) == head


def test_bounded():
    assert len(plain("x" * 10**6)) == 2000
    assert len(plain(list(range(10**5)))) == 200
    deep = []
    for _ in range(1000):
        deep = [deep]
    assert "..." in json.dumps(plain(deep))
    assert plain(float("nan")) == "nan"
    assert plain(10**400).isdigit()


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "log" / "audit.jsonl", tmp_path / "elsewhere" / "head", tmp_path / "secret" / "key"


def test_write_reopen_verify(paths):
    log = AuditLog(*paths)
    for k in range(5):
        assert log.append("command", 1.0 + k, {"k": k}).n == k + 1
    log.close()
    assert verify(*paths).records == 5
    log = AuditLog(*paths)
    log.append("stop", 9.0, {})
    assert [r["n"] for r in log.tail(2)] == [5, 6]
    assert log.tail(0) == []
    assert len(log.tail(100)) == 6
    log.close()
    assert verify(*paths).ok
    assert paths[2].stat().st_mode & 0o077 == 0


def test_a_log_that_never_began_is_in_order(paths):
    assert verify(*paths).ok
    assert not paths[2].exists()


def test_one_writer(paths):
    log = AuditLog(*paths)
    with pytest.raises(FencedError, match="another writer"):
        AuditLog(*paths)
    log.close()
    AuditLog(*paths).close()


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_a_cut_log_is_found_and_not_written_on(paths, keep):
    log = AuditLog(*paths)
    for k in range(4):
        log.append("command", 1.0, {"k": k})
    log.close()
    lines = paths[0].read_bytes().splitlines(keepends=True)
    paths[0].write_bytes(b"".join(lines[:keep]))
    assert not verify(*paths).ok
    with pytest.raises(CorruptionError, match="cut off"):
        AuditLog(*paths)


def test_missing_files_are_found(paths):
    log = AuditLog(*paths)
    log.append("command", 1.0, {})
    log.append("command", 1.0, {})
    log.close()
    head = paths[1].read_bytes()
    paths[1].unlink()
    assert not verify(*paths).ok
    paths[1].write_bytes(head)
    assert verify(*paths).ok
    key = paths[2].read_bytes()
    paths[2].unlink()
    assert verify(*paths).reason == "The key is missing"
    paths[2].write_bytes(key)
    paths[2].chmod(0o600)
    paths[0].unlink()
    assert not verify(*paths).ok


def test_a_crash_between_record_and_head_is_taken_in(paths):
    log = AuditLog(*paths)
    log.append("command", 1.0, {})
    before = paths[1].read_bytes()
    log.append("command", 2.0, {})
    log.close()
    paths[1].write_bytes(before)
    assert verify(*paths).behind == 1
    log = AuditLog(*paths)
    assert log.append("command", 3.0, {}).n == 3
    log.close()
    assert verify(*paths).records == 3


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_record_is_set_aside(paths, cut):
    log = AuditLog(*paths)
    log.append("command", 1.0, {})
    line, _ = seal(paths[2].read_bytes(), log.head, 2.0, "command", {})
    log.close()
    with paths[0].open("ab") as file:
        file.write(line[:cut])
    assert not verify(*paths).ok
    log = AuditLog(*paths)
    assert log.torn == cut
    log.append("command", 3.0, {})
    log.close()
    assert verify(*paths).records == 2
    assert Path(f"{paths[0]}.torn").read_bytes() == line[:cut] + b"\n"


@pytest.mark.parametrize("fails", ["write", "fsync", "head"])
def test_what_cannot_be_written_leaves_no_trace(paths, monkeypatch, fails):
    log = AuditLog(*paths)
    log.append("command", 1.0, {})

    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        if fails == "head":
            m.setattr(log, "_write_head", fail)
        else:
            m.setattr(os, fails, fail)
        with pytest.raises(StoreError, match="No space left"):
            log.append("command", 2.0, {})
    assert log.append("command", 3.0, {}).n == 2
    log.close()
    assert verify(*paths).records == 2


def test_a_short_write_is_an_error(paths, monkeypatch):
    log = AuditLog(*paths)
    real = os.write
    with monkeypatch.context() as m:
        m.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
        with pytest.raises(StoreError):
            log.append("command", 1.0, {})
    log.append("command", 2.0, {})
    log.close()
    assert verify(*paths).records == 1


def test_the_key_is_kept_private(paths):
    AuditLog(*paths).close()
    paths[2].chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        AuditLog(*paths)
    paths[2].chmod(0o600)
    paths[2].write_bytes(b"short")
    with pytest.raises(StoreError, match="5 bytes"):
        AuditLog(*paths)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_on_the_disk_is_found(paths, data):
    if not paths[0].exists():
        log = AuditLog(*paths)
        for k in range(3):
            log.append("command", float(k), {"k": k})
        log.close()
    victim = paths[data.draw(st.integers(0, 1))]
    content = victim.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << (bit % 8)
    victim.write_bytes(flipped)
    assert not verify(*paths).ok
    victim.write_bytes(content)
    assert verify(*paths).ok
