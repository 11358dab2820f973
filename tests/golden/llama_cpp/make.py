#!/usr/bin/env python3
"""Remake the goldens of this folder with llama.cpp (README.md says what each one holds).

  make.py --make-model BUILD/tests/support/make_model --sluice BUILD/launch/sluice

Builds llama.cpp first (../build_llama_cpp.sh), and logprobs.cpp against it. Needs the PyPI packages `gguf`
and `numpy`. Writes beside itself; a minute, once llama.cpp is built.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

sys.dont_write_bytecode = True
from rewrite_gguf import rewrite  # noqa: E402: leaves nothing beside itself

HERE = pathlib.Path(__file__).parent
# What tests/support/make_model is told; the test reads it from the golden.
SMALL = "--seed 3 --layers 6 --width 96 --ffn 160 --heads 6 --kv-heads 2 --vocab 512 --context 4096 "
F32 = SMALL + "--type f32 --head f32 "
ARCHITECTURES = {
    # its rope scaling is what the converter makes of Llama 3.1's: divisors in the file
    "llama": F32 + "--untied --head-dim 16 --biased --rope-freqs --rope-base 500000",
    "qwen2": F32 + ("--tied --head-dim 16 --architecture qwen2 --rope-base 20000 --rope-scaling yarn "
                    "--rope-factor 4 --rope-context 1024"),
    "qwen3": F32 + ("--tied --head-dim 32 --architecture qwen3 --rope-base 50000 "
                    "--rope-scaling linear --rope-factor 4"),
    "smollm3": F32 + "--tied --head-dim 16 --architecture smollm3 --rope-base 30000",
    # as Gemma 3 4B and larger: positions of the layers without window are scaled
    "gemma3": F32 + ("--tied --head-dim 32 --architecture gemma3 --rope-base 70000 --rope-scaling linear "
                     "--rope-factor 4 --window 40 --window-pattern 3"),
}
TYPES = ["f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
         "iq4_nl", "iq4_xs", "mxfp4"]
QUANTIZED = ("--seed 5 --layers 2 --width 256 --ffn 512 --heads 4 --kv-heads 2 --head-dim 64 --vocab 512 "
             "--untied ")
# Adapters: seed, rank, alpha, type, maps (tests/support/make_lora), and the scale they are used with. Two
# of them, of different ranks and maps.
LORAS = {
    "lora_llama": ("llama", [("1 4 8 f32 attention", 1.0), ("2 32 16 f32 all", -0.5)]),
    "lora_gemma3": ("gemma3", [("3 32 24 mixed all", 0.75)]),
}
IDS, TYPE_IDS, LORA_IDS = 3000, 400, 512


def seeded_ids(n):
    """As tests/support/seeded.h draws them: SplitMix64, seed 1, below 504, and none that is special."""
    mask, state, ids = (1 << 64) - 1, 1, []
    for _ in range(n):
        state = z = (state + 0x9e3779b97f4a7c15) & mask
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & mask
        z = (z ^ z >> 27) * 0x94d049bb133111eb & mask
        ids.append(8 + (z ^ z >> 31) % 504)
    return np.array(ids, dtype=np.int32)


def build_logprobs(out):
    """logprobs.cpp with llama.cpp's libraries."""
    build = pathlib.Path(subprocess.run([HERE.parent / "build_llama_cpp.sh", "native", "llama"],
                                        stdout=subprocess.PIPE, check=True, text=True).stdout.strip())
    source = build.parent / "vendor/llama.cpp"
    libraries = [build / "src/libllama.a", *(build / f"ggml/src/lib{name}.a"
                                             for name in ("ggml", "ggml-cpu", "ggml-base"))]
    subprocess.run(["c++", "-O2", "-std=c++17", f"-I{source}/include", f"-I{source}/ggml/include",
                    HERE / "logprobs.cpp", *libraries, "-lgomp", "-lpthread", "-ldl",
                    "-o", out], check=True)


class Maker:
    def __init__(self, args, folder):
        self.args, self.folder = args, pathlib.Path(folder)
        self.program = self.folder / "logprobs"
        build_logprobs(self.program)

    def model(self, words):
        """(the file, the model's hash as Sluice tells it)"""
        path = self.folder / "model.gguf"
        subprocess.run([self.args.make_model, *words.split(), path], check=True)
        subprocess.run([self.args.sluice, "show", "model", "--sums", "-q", path], check=True,
                       stdout=subprocess.DEVNULL)
        sums = pathlib.Path(f"{path}.sums")
        found = re.search(r"^model ([0-9a-f]+)$", sums.read_text(), re.M).group(1)
        sums.unlink()
        return path, found

    def log_probabilities(self, path, n_ids, *adapters):
        ids, out = self.folder / "ids", self.folder / "out"
        seeded_ids(n_ids).tofile(ids)
        subprocess.run([self.program, path, ids, out, *adapters], check=True)
        return np.fromfile(out, dtype=np.float32)

    def architecture(self, name, words):
        path, model_hash = self.model(words)
        values = self.log_probabilities(path, IDS)
        values.tofile(HERE / f"{name}.f32")
        print(f"{name}: {values.mean():.3f} on average, deviation {values.std():.3f}")
        return {"make_model": words, "hash": model_hash}

    def type(self, name):
        words = QUANTIZED + f"--type {name} --head {name}"
        path, model_hash = self.model(words)
        plain = self.folder / "plain.gguf"
        rewrite(path, plain)
        own, exact = (self.log_probabilities(p, TYPE_IDS) for p in (path, plain))
        exact.tofile(HERE / f"{name}.f32")
        off = float(np.abs(own.astype(np.float64) - exact).mean())
        print(f"{name}: llama.cpp is off by {off:.5f} on average")
        return {"make_model": words, "hash": model_hash, "llama_cpp_off": round(off, 6)}

    def lora(self, name):
        architecture, adapters = LORAS[name]
        path, model_hash = self.model(ARCHITECTURES[architecture])
        made, words = [], []
        for i, (options, scale) in enumerate(adapters):
            file = self.folder / f"lora-{i}.gguf"
            run = subprocess.run([pathlib.Path(self.args.make_model).with_name("make_lora"), path, file,
                                  *options.split()], check=True, stdout=subprocess.PIPE, text=True)
            made.append({"make_lora": options, "scale": scale, "hash": run.stdout.strip()})
            words += [file, str(scale)]
        without, values = (self.log_probabilities(path, LORA_IDS, *more) for more in ([], words))
        values.tofile(HERE / f"{name}.f32")
        print(f"{name}: changes log-probabilities by {np.abs(values - without).mean():.3f} on average")
        return {"make_model": ARCHITECTURES[architecture], "hash": model_hash, "adapters": made}


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--make-model", required=True)
    p.add_argument("--sluice", required=True)
    with tempfile.TemporaryDirectory() as folder:
        maker = Maker(p.parse_args(), folder)
        goldens = {
            "architectures": {name: maker.architecture(name, words)
                              for name, words in ARCHITECTURES.items()},
            "types": {name: maker.type(name) for name in TYPES},
            "loras": {name: maker.lora(name) for name in LORAS},
        }
    (HERE / "models.json").write_text(json.dumps(goldens, indent=1) + "\n")


if __name__ == "__main__":
    main()
