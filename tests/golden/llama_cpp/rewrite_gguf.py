"""A GGUF file again with every tensor in f32, as the PyPI package `gguf` dequantizes it."""
import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

FILE_TYPE = "general.file_type"  # 0 is f32


def rewrite(path, out, change=lambda name, values: values, keys=()):
    """change(name, values) makes other tensors of them; `keys` has other values of some keys."""
    reader, keys = GGUFReader(path), {FILE_TYPE: 0, **dict(keys)}
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        writer.add_key_value(name, keys.get(name, field.contents()), kind,
                             field.types[-1] if kind == GGUFValueType.ARRAY else None)
    for t in reader.tensors:
        shape = [int(n) for n in reversed(t.shape)]
        values = dequantize(t.data, t.tensor_type).astype(np.float32).reshape(shape)
        writer.add_tensor(t.name, np.ascontiguousarray(change(t.name, values)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
