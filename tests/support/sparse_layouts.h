// The text-to-video model at its full size in the layouts that users have. Data are holes, so that it takes no disk.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/layouts.h"
#include "tests/sparse_checkpoint.h"

namespace wan::layouts {

enum class Layout { Official, Gguf, ComfyFp8, Diffusers };

/// One safetensors file, with matrices in E4M3 codes.
inline void write_sparse_fp8(const std::filesystem::path& path, std::map<std::string, StoredTensor> tensors) {
  for (auto& [name, tensor] : tensors)
    if (tensor.shape.size() == 2) tensor.dtype = at::kFloat8_e4m3fn;
  const std::filesystem::path shards = path.string() + ".shards";
  write_sparse_shards(shards, tensors, 1);
  std::filesystem::rename(shards / "diffusion_pytorch_model-00001-of-00001.safetensors", path);
  std::filesystem::remove_all(shards);
}

/// Writes all parts into `root`, with a tokenizer.
inline void write_sparse_layout(Layout layout, const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  if (layout == Layout::Official) {
    write_sparse_t2v_folder(root);
    return copy_tokenizer(root / "google/umt5-xxl");
  }
  if (layout == Layout::Diffusers) {
    const auto expert = published_tensors("diffusers_dit_t2v_a14b");
    for (const char* folder : {"transformer", "transformer_2"}) write_sparse_shards(root / folder, expert, 12);
    write_sparse_shards(root / "text_encoder", published_tensors("hf_umt5_xxl_encoder"), 5);
    write_sparse_shards(root / "vae", published_tensors("diffusers_wan2_1_vae"), 1);
    std::ofstream(root / "model_index.json") << R"({"_class_name": "WanPipeline"})";
    return copy_tokenizer(root / "tokenizer");
  }
  const bool comfy = layout == Layout::ComfyFp8;
  const fs::path video = comfy ? root / "diffusion_models" : root, encoders = comfy ? root / "text_encoders" : root;
  const fs::path vae = comfy ? root / "vae" : root;
  for (const fs::path& folder : {video, encoders, vae}) fs::create_directories(folder);
  const auto expert = published_tensors("official_dit_t2v_a14b");
  for (const char* level : {"high", "low"}) {
    const std::string stem = "wan2.2_t2v_" + std::string(level) + "_noise_14B";
    comfy ? write_sparse_fp8(video / (stem + "_fp8.safetensors"), expert)
          : write_sparse_gguf(video / (stem + "_Q4_K.gguf"), expert);
  }
  write_sparse_pth(encoders / "umt5_xxl.pth", published_tensors("official_umt5_xxl_encoder"));
  write_sparse_pth(vae / "wan_2.1_vae.pth", published_tensors("official_wan2_1_vae"));
  copy_tokenizer(encoders / "umt5-xxl");
}

}  // namespace wan::layouts
