// One expert of the tiny checkpoint in the forms that users have, each as one file.
#pragma once

#include <filesystem>

namespace wan::forms {

/// Writes `expert`, a folder of the official layout, as the file `to`.
using Write = void (*)(const std::filesystem::path& expert, const std::filesystem::path& to);

/// Every tensor in halves, as the largest files of ComfyUI are.
void fp16(const std::filesystem::path& expert, const std::filesystem::path& to);
/// What `wan-infer convert` writes: scaled fp8 of the old convention, int8 ConvRot, GGUF Q8_0.
void old_fp8(const std::filesystem::path& expert, const std::filesystem::path& to);
void int8(const std::filesystem::path& expert, const std::filesystem::path& to);
void q8_0(const std::filesystem::path& expert, const std::filesystem::path& to);
/// The codes and scales of old_fp8 in the new convention of ComfyUI: `weight_scale`, and a `comfy_quant` for each layer.
void new_fp8(const std::filesystem::path& expert, const std::filesystem::path& to);
/// GGUF: the blocks' matrices in Q4_K where a row is a multiple of 256, else in F16, as the format's own program falls back.
void q4_k(const std::filesystem::path& expert, const std::filesystem::path& to);

}  // namespace wan::forms
