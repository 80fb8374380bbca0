"""One file per model: numbers and JSON in a zip archive, safe to open from strangers.

Layout: an uncompressed zip with `model.json` (format, version, class name, state) and one `<i>.npy` member
per array, which the state refers to as {"$array": i}. The archive comment is the SHA-256 of everything before
it. Nothing is compressed, so no member can be larger than the file; nothing is pickled, so nothing runs;
timestamps are fixed, so equal models give equal bytes.
"""

import hashlib
import importlib
import io
import json
import math
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pkboost_core.dtypes import NODE
from pkboost_core.integrity import check_ensemble

FORMAT = "pkboost"
VERSION = 1
MAX_BYTES = 1 << 30
"""Files larger than this are refused unread."""

_HEADER = "model.json"
_DIGEST_LENGTH = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN_KINDS = "biufUS"
_BUILT_IN = {"PKBoostClassifier": "pkboost_core.booster", "PKBoostRegressor": "pkboost_core.regressor"}
_registered: dict[str, type] = {}


class ModelFileError(ValueError):
    """The file is damaged, not a model, or of a version this code does not know."""


def register(cls: type) -> type:
    """Let `load` rebuild a class that has `to_state()` and `from_state(state)`; usable as a decorator."""
    _registered[cls.__name__] = cls
    return cls


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to one file, whole or not at all (a rename makes it visible).

    Parameters
    ----------
    model : object with `to_state()` returning a dict of JSON values and numeric arrays
    path : file to create or replace
    """
    path, data = Path(path), dumps(model)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model written by `save`.

    Raises
    ------
    ModelFileError
        Damaged, truncated, hostile, or of an unknown format, version or class.
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        return loads(data)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error


def dumps(model: Any) -> bytes:
    """Return the bytes that `save` writes; equal states give equal bytes."""
    arrays: list[np.ndarray] = []
    state = _encode(model.to_state(), arrays, "state")
    header = {"format": FORMAT, "version": VERSION, "class": type(model).__name__, "state": state}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = b"0" * _DIGEST_LENGTH
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
        archive.writestr(zipfile.ZipInfo(_HEADER, _EPOCH), text)
        for i, array in enumerate(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{i}.npy", _EPOCH), member.getvalue())
    body = buffer.getvalue()[:-_DIGEST_LENGTH]
    return body + hashlib.sha256(body).hexdigest().encode()


def loads(data: bytes) -> Any:
    """Rebuild a model from the bytes of `dumps`; ModelFileError as in `load`."""
    header, arrays = _open(data)
    if header.get("format") != FORMAT:
        raise ModelFileError(f"format is {header.get('format')!r}, expected {FORMAT!r}")
    if header.get("version") != VERSION:
        raise ModelFileError(
            f"format version {header.get('version')!r} is not {VERSION}, which this release reads"
        )
    cls = _class_named(header.get("class"))
    try:
        with np.errstate(invalid="raise"):  # NaN cast to an integer would be any number
            model = cls.from_state(_decode(header["state"], arrays))
        ensemble = getattr(model, "ensemble_", None)
        if ensemble is not None:
            check_ensemble(ensemble)
    except ModelFileError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ModelFileError(f"the state does not fit {cls.__name__}: {error!r}") from error
    return model


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelFileError(message)


def _class_named(name: Any) -> Any:
    if name in _registered:
        return _registered[name]
    if name not in _BUILT_IN:
        raise ModelFileError(
            f"class {name!r} is unknown; known are {', '.join(sorted({*_registered, *_BUILT_IN}))}"
        )
    return getattr(importlib.import_module(_BUILT_IN[name]), name)


def _open(data: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Check size and digest, then read the header and every array."""
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"larger than {MAX_BYTES} bytes; not a model this code writes")
    body, digest = data[:-_DIGEST_LENGTH], data[-_DIGEST_LENGTH:]
    if not body.startswith(b"PK"):
        raise ModelFileError("not a model file (no zip signature)")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ModelFileError("damaged or truncated: the checksum does not match; copy the file again")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            for i, info in enumerate(members):
                _require(
                    info.filename == (f"{i - 1}.npy" if i else _HEADER),
                    f"unexpected member {info.filename!r}",
                )
                _require(info.compress_type == zipfile.ZIP_STORED, f"member {info.filename!r} is compressed")
                _require(
                    info.file_size == info.compress_size <= len(data), f"size of {info.filename!r} is wrong"
                )
            header = json.loads(archive.read(_HEADER))
            arrays = [_read_array(archive.read(info), info.filename) for info in members[1:]]
    except ModelFileError:
        raise
    except (
        zipfile.BadZipFile,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        raise ModelFileError(f"damaged archive: {error!r}") from error
    _require(isinstance(header, dict), "the header is not an object")
    return header, arrays


def _read_array(member: bytes, name: str) -> np.ndarray:
    """Read a .npy member whose declared size is its actual one."""
    stream = io.BytesIO(member)
    _require(np.lib.format.read_magic(stream) == (1, 0), f"{name} is not a version 1.0 array")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype == NODE:
        dtype = NODE  # the header does not keep the alignment flag, which is part of numba's type
    elif dtype.kind not in _PLAIN_KINDS or dtype.names is not None or dtype.subdtype is not None:
        raise ModelFileError(f"{name} has elements of type {dtype}, which models do not hold")
    size = math.prod(shape) * dtype.itemsize
    _require(not fortran_order and all(n >= 0 for n in shape), f"{name} has an odd layout")
    _require(
        dtype.itemsize > 0 and size == len(member) - stream.tell(),
        f"{name} holds another size than it declares",
    )
    array = np.frombuffer(member, dtype, offset=stream.tell()).reshape(shape).copy()
    for part in [array[field] for field in dtype.names] if dtype.names else [array]:
        is_clean = part.dtype != np.bool_ or bool((part.view(np.uint8) <= 1).all())
        _require(is_clean, f"{name} holds booleans other than 0 and 1")
    return array


def _encode(value: Any, arrays: list[np.ndarray], where: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.generic):
        return _encode(value.item(), arrays, where)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.ndarray):
        if value.dtype != NODE and (value.dtype.kind not in _PLAIN_KINDS or value.dtype.itemsize == 0):
            raise TypeError(
                f"{where} is an array of {value.dtype}; save numbers, booleans or fixed-width strings"
            )
        arrays.append(_without_padding(value) if value.dtype == NODE else np.ascontiguousarray(value))
        return {"$array": len(arrays) - 1}
    if isinstance(value, list | tuple):
        return [_encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, dict):
        if not all(isinstance(key, str) and not key.startswith("$") for key in value):
            raise TypeError(
                f"keys of {where} must be strings that do not start with $, got {list(value)[:5]}"
            )
        return {key: _encode(v, arrays, f"{where}.{key}") for key, v in sorted(value.items())}
    raise TypeError(f"{where} is a {type(value).__name__}; states hold JSON values and numeric arrays")


def _without_padding(nodes: np.ndarray) -> np.ndarray:
    """Copy records into zeroed memory: gaps between fields hold garbage that differs from run to run."""
    clean = np.zeros(nodes.shape, NODE)
    for name in NODE.names or ():
        clean[name] = nodes[name]
    return clean


def _decode(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if "$float" in value:
        _require(value["$float"] in ("nan", "inf", "-inf"), "a non-finite number is misspelt")
        return float(value["$float"])
    if "$array" in value:
        i = value["$array"]
        _require(type(i) is int and 0 <= i < len(arrays), f"array {i!r} is missing")
        return arrays[i]
    return {key: _decode(v, arrays) for key, v in value.items()}
