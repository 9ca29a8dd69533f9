#include "tests/layouts.h"

#include <ATen/ATen.h>

#include <fstream>
#include <regex>

#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"

namespace wan::layouts {

namespace fs = std::filesystem;

namespace {

/// Official to diffusers, of the transformer. Source: convert_wan_to_diffusers.py of diffusers.
std::string diffusers_name(std::string name) {
  static const std::pair<std::regex, const char*> kRules[] = {
      {std::regex("^time_embedding\\.0\\."), "condition_embedder.time_embedder.linear_1."},
      {std::regex("^time_embedding\\.2\\."), "condition_embedder.time_embedder.linear_2."},
      {std::regex("^text_embedding\\.0\\."), "condition_embedder.text_embedder.linear_1."},
      {std::regex("^text_embedding\\.2\\."), "condition_embedder.text_embedder.linear_2."},
      {std::regex("^time_projection\\.1\\."), "condition_embedder.time_proj."},
      {std::regex("^head\\.modulation$"), "scale_shift_table"},
      {std::regex("^head\\.head\\."), "proj_out."},
      {std::regex("\\.modulation$"), ".scale_shift_table"},
      {std::regex("\\.norm3\\."), ".norm2."},
      {std::regex("\\.self_attn\\.([qkv])\\."), ".attn1.to_$1."},
      {std::regex("\\.cross_attn\\.([qkv])\\."), ".attn2.to_$1."},
      {std::regex("\\.self_attn\\.o\\."), ".attn1.to_out.0."},
      {std::regex("\\.cross_attn\\.o\\."), ".attn2.to_out.0."},
      {std::regex("\\.self_attn\\."), ".attn1."},
      {std::regex("\\.cross_attn\\."), ".attn2."},
      {std::regex("\\.ffn\\.0\\."), ".ffn.net.0.proj."},
      {std::regex("\\.ffn\\.2\\."), ".ffn.net.2."},
  };
  for (const auto& [pattern, replacement] : kRules) name = std::regex_replace(name, pattern, replacement);
  return name;
}

/// Official to Hugging Face, of UMT5. Source: convert_wan_to_diffusers.py, modeling_t5.py.
std::string hugging_face_name(std::string name) {
  static const std::pair<std::regex, const char*> kRules[] = {
      {std::regex("^token_embedding\\."), "shared."},
      {std::regex("^norm\\."), "encoder.final_layer_norm."},
      {std::regex("^blocks\\.(\\d+)\\.norm1\\."), "encoder.block.$1.layer.0.layer_norm."},
      {std::regex("^blocks\\.(\\d+)\\.norm2\\."), "encoder.block.$1.layer.1.layer_norm."},
      {std::regex("^blocks\\.(\\d+)\\.attn\\."), "encoder.block.$1.layer.0.SelfAttention."},
      {std::regex("^blocks\\.(\\d+)\\.pos_embedding\\.embedding\\."),
       "encoder.block.$1.layer.0.SelfAttention.relative_attention_bias."},
      {std::regex("^blocks\\.(\\d+)\\.ffn\\.gate\\.0\\."), "encoder.block.$1.layer.1.DenseReluDense.wi_0."},
      {std::regex("^blocks\\.(\\d+)\\.ffn\\.fc1\\."), "encoder.block.$1.layer.1.DenseReluDense.wi_1."},
      {std::regex("^blocks\\.(\\d+)\\.ffn\\.fc2\\."), "encoder.block.$1.layer.1.DenseReluDense.wo."},
  };
  for (const auto& [pattern, replacement] : kRules) name = std::regex_replace(name, pattern, replacement);
  return name;
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

}  // namespace

Request request(Task task, const fs::path& model) {
  Request request;
  request.task = task;
  request.model = model.string();
  return request;
}

Request all_named(const fs::path& model) {
  Request named = request(Task::T2V, "");
  named.high_noise = model / "high_noise_model";
  named.low_noise = model / "low_noise_model";
  named.text_encoder = model / "models_t5_umt5-xxl-enc-bf16.pth";
  named.vae = model / "Wan2.1_VAE.pth";
  return named;
}

void write_single(const fs::path& to, const fs::path& from, const std::function<std::string(std::string)>& renamed) {
  const Checkpoint checkpoint = Checkpoint::open(from);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : checkpoint.tensors())
    tensors[renamed ? renamed(name) : name] = checkpoint.map(name).contiguous();
  fs::create_directories(to.parent_path());
  write_safetensors(to, tensors);
}

void copy_tokenizer(const fs::path& folder) {
  fs::create_directories(folder);
  fs::copy_file(kNano / "google/umt5-xxl/tokenizer.json", folder / "tokenizer.json");
}

void write_diffusers(const fs::path& root) {
  const std::string file = "diffusion_pytorch_model.safetensors";
  write(root / "model_index.json", R"({"_class_name": "WanPipeline", "boundary_ratio": 0.875})");
  for (const auto& [folder, expert] :
       {std::pair("transformer", "high_noise_model"), {"transformer_2", "low_noise_model"}}) {
    write_single(root / folder / file, kNano / expert, diffusers_name);
  }
  write_single(root / "text_encoder/model.safetensors", kNano / "models_t5_umt5-xxl-enc-bf16.pth", hugging_face_name);
  write_single(root / "vae" / file, kNano / "Wan2.1_VAE.pth");
  copy_tokenizer(root / "tokenizer");
}

void write_comfy(const fs::path& models) {
  const fs::path video = models / "diffusion_models";
  write_single(video / "wan/wan2.2_t2v_high_noise_14B_fp16.safetensors", kNano / "high_noise_model");
  write_single(models / "unet/Wan2.2-T2V-A14B-LowNoise-Q8_0.safetensors", kNano / "low_noise_model");
  write_single(video / "wan2.1_t2v_14B_fp16.safetensors", kNano / "low_noise_model");
  for (const char* level : {"high", "low"})
    write_single(video / ("wan2.2_i2v_" + std::string(level) + "_noise_14B_fp16.safetensors"),
                 kGolden / "Wan2.2-I2V-A14B" / (std::string(level) + "_noise_model"));
  write_safetensors(video / "high_noise_lora.safetensors",
                    {{"diffusion_model.blocks.0.self_attn.q.lora_A.weight", at::ones({2, 4})},
                     {"diffusion_model.blocks.0.self_attn.q.lora_B.weight", at::ones({4, 2})}});
  write(video / "high_noise_broken.safetensors", "nothing");
  write_single(models / "text_encoders/umt5_xxl_fp16.safetensors", kNano / "models_t5_umt5-xxl-enc-bf16.pth");
  copy_tokenizer(models / "text_encoders/umt5-xxl");
  write_single(models / "vae/wan_2.1_vae.safetensors", kNano / "Wan2.1_VAE.pth");
  write_safetensors(models / "vae/ae.safetensors", {{"decoder.conv_in.weight", at::ones({2, 2})}});
}

}  // namespace wan::layouts
