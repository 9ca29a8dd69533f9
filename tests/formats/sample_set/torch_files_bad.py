"""The folder pickle_bad: archives that would run code (the harmless command true), and views past what there is."""

import pickle
import struct
import zipfile

from .torch_files import archive_entries, dumps, legacy_head, state, zip_bytes


def unicode(value):
    return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()


def name(module, attribute):
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def integer(value):
    if -(2**31) <= value < 2**31:
        return pickle.BININT + struct.pack("<i", value)
    data = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(data)]) + data


def group(*parts):
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def program(*parts, protocol=2):
    return pickle.PROTO + bytes([protocol]) + b"".join(parts) + pickle.STOP


def call(function, *arguments):
    return function + group(*arguments) + pickle.REDUCE


def entry(value):
    """A dict of one."""
    return pickle.EMPTY_DICT + unicode("a") + value + pickle.SETITEM


def tensor(count, offset, sizes, strides, kind=name("torch", "FloatStorage"), key="0"):
    storage = group(unicode("storage"), kind, unicode(key), unicode("cpu"), integer(count)) + pickle.BINPERSID
    return call(name("torch._utils", "_rebuild_tensor_v2"), storage, integer(offset), group(*map(integer, sizes)),
                group(*map(integer, strides)), pickle.NEWFALSE, pickle.EMPTY_DICT)


def nested_pairs(depth):
    """A tuple of itself twice, so many times: 2^depth leaves in a few hundred bytes."""
    body = pickle.EMPTY_LIST + pickle.TUPLE1 + pickle.BINPUT + b"\0"
    for at in range(1, depth + 1):
        body += pickle.BINGET + bytes([at - 1]) + pickle.TUPLE2 + pickle.BINPUT + bytes([at])
    return body


def write(samples):
    rng = samples.rng("pickle_bad")

    def put(file, content, what=None):
        samples.write(f"pickle_bad/{file}.pth", content, **({"what": what} if what else {}))

    def code(file, body, protocol=2, what=None):
        data = body if protocol == 0 else program(body, protocol=protocol)
        put(file, zip_bytes([("data.pkl", data), ("byteorder", b"little"), ("version", b"3\n")], "archive"), what)

    command = unicode("true")
    system = name(str(rng.choice(["os", "posix"])), "system")
    code("global_os_system", entry(call(system, command)))
    code("builtins_eval", call(name(str(rng.choice(["builtins", "__builtin__"])), str(rng.choice(["eval", "exec"]))),
                               unicode("1+1")))
    code("getattr_chain", call(name("builtins", "getattr"), name("os", "__dict__"), unicode("system")))
    code("inst_opcode", pickle.MARK + command + pickle.INST + b"posix\nsystem\n" + pickle.STOP, protocol=0)
    code("obj_newobj", [name("subprocess", "Popen") + group(command) + pickle.NEWOBJ,
                        pickle.MARK + name("subprocess", "Popen") + command + pickle.OBJ][rng.integers(2)])
    code("stack_global", b"\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94", protocol=4)
    unknown = [("mypkg.mymodule", "MyModel"), ("torch.nn.modules.linear", "Linear"), ("torch._utils", "_rebuild_tensor_v9"),
               ("collections", "Counter"), ("torch._utils ", "_rebuild_tensor_v2")][rng.integers(5)]
    code("unknown_global", name(*unknown) + pickle.EMPTY_TUPLE + pickle.REDUCE)
    depth = int(rng.integers(30, 200))
    code("memo_bomb", nested_pairs(depth), what=f"nested tuples doubling {depth} times: no recursive walk may expand them")
    put("legacy_os_system", legacy_head() + program(call(system, command)) + dumps([]))
    write_views(rng, put)
    write_archives(rng, put)


def write_views(rng, put):
    count, rows = int(rng.integers(8, 64)), int(rng.integers(2, 5))

    def one(file, *arguments, **options):
        entries = [("data.pkl", program(entry(tensor(count, *arguments, **options)))), ("data/0", rng.bytes(4 * count)),
                   ("version", b"3\n")]
        put(file, zip_bytes(entries, "archive"))

    one("bad_storage_type", 0, [rows], [1], kind=name("os", "system"))
    one("negative_offset", -int(rng.integers(1, 9)), [rows], [1])
    one("negative_stride", count - 1, [rows], [-1])
    one("path_key", 0, [rows], [1], key=["../../x", "/etc/hostname", "../data.pkl", "..", "sub/0"][rng.integers(5)])
    stride = [2**61, 2**62, 2**63 - 1, 2**64 // 4][rng.integers(4)]
    one("stride_overflow", 0, [5, 2] if rng.integers(2) else [2, 2], [stride, 1])
    over = int(rng.integers(1, 9))
    one("view_past_end", over, [1, count], [count, 1])


def write_archives(rng, put):
    tensors, _ = state(rng)
    entries = archive_entries(tensors)
    whole = zip_bytes(entries, "zip_state_dict")
    put("truncated", whole[:int(rng.integers(5, len(whole) - 30))])
    filled = [at for at, (file, data) in enumerate(entries) if file.startswith("data/") and data]
    at = int(rng.choice(filled))
    put("missing_storage", zip_bytes(entries[:at] + entries[at + 1:], "zip_state_dict"))
    short = (entries[at][0], entries[at][1][:int(rng.integers(0, len(entries[at][1])))])
    put("short_storage", zip_bytes(entries[:at] + [short] + entries[at + 1:], "zip_state_dict"))
