// What a checkpoint is, told from names and shapes.
#include "models/recognise.h"

#include <gtest/gtest.h>

#include "tests/sparse_checkpoint.h"

namespace wan {
namespace {

using Sizes = std::vector<int64_t>;

StoredTensor tensor(const Sizes& shape = {1}) {
  return {at::kFloat, shape, row_major_strides(shape), nullptr};
}

/// A file of these names alone.
StoredTensors file_of(const std::vector<std::string>& names) {
  StoredTensors tensors;
  for (const std::string& name : names) tensors[name] = tensor();
  return tensors;
}

/// The text-to-video transformer, officially named or as diffusers, with another first convolution and further tensors.
StoredTensors transformer(int64_t in_dim, const std::vector<std::string>& further = {}, bool diffusers = false,
                          int64_t dim = 5120, int64_t out_dim = 16) {
  StoredTensors tensors = published_tensors(diffusers ? "diffusers_dit_t2v_a14b" : "official_dit_t2v_a14b");
  tensors["patch_embedding.weight"] = tensor({dim, in_dim, 1, 2, 2});
  tensors[diffusers ? "proj_out.weight" : "head.head.weight"] = tensor({4 * out_dim, dim});
  for (const std::string& name : further) tensors[name] = tensor();
  return tensors;
}

std::string name_of(const StoredTensors& tensors) {
  const Recognised found = recognise(tensors);
  EXPECT_FALSE(found.model) << found.name;
  return found.name;
}

TEST(Recognise, NetworksThatAreRunInAllNamings) {
  const std::pair<const char*, Model> cases[] = {
      {"official_dit_t2v_a14b", Model::TextExpert},
      {"diffusers_dit_t2v_a14b", Model::TextExpert},
      {"official_dit_i2v_a14b", Model::ImageExpert},
      {"s2v_14b", Model::Speech},
      {"official_umt5_xxl_encoder", Model::TextEncoder},
      {"hf_umt5_xxl_encoder", Model::TextEncoder},
      {"gguf_umt5_xxl_encoder", Model::TextEncoder},
      {"official_wan2_1_vae", Model::Vae},
      {"diffusers_wan2_1_vae", Model::Vae},
      {"wav2vec2_large_xlsr_53_english", Model::AudioEncoder},
  };
  for (const auto& [list, model] : cases) {
    const Recognised found = recognise(published_tensors(list));
    EXPECT_EQ(found.model, model) << list << " is " << found.name;
  }
  EXPECT_EQ(recognise(transformer(36, {}, true)).model, Model::ImageExpert);
  StoredTensors comfy = published_tensors("hf_umt5_xxl_encoder");
  comfy["spiece_model"] = {at::kByte, {4548313}, {1}, nullptr};
  comfy["encoder.embed_tokens.weight"] = comfy["shared.weight"];
  EXPECT_EQ(recognise(comfy).model, Model::TextEncoder);
  comfy.erase("shared.weight");
  EXPECT_EQ(recognise(comfy).model, Model::TextEncoder) << "with the alias alone";
}

TEST(Recognise, TheAudioEncoderWithoutItsPrefix) {
  StoredTensors bare;
  for (const auto& [name, stored] : published_tensors("wav2vec2_large_xlsr_53_english"))
    if (name.starts_with("wav2vec2.")) bare[name.substr(9)] = stored;
  EXPECT_EQ(recognise(bare).model, Model::AudioEncoder);
}

TEST(Recognise, StructureCountsAndNotWidth) {
  for (bool diffusers : {false, true}) {
    EXPECT_EQ(recognise(transformer(16, {}, diffusers, 96)).model, Model::TextExpert);
    EXPECT_EQ(recognise(transformer(36, {}, diffusers, 1536)).model, Model::ImageExpert);
    EXPECT_EQ(recognise(transformer(16, {}, diffusers, 1536)).model, Model::TextExpert) << "40 blocks";
  }
  StoredTensors vae = published_tensors("official_wan2_1_vae");
  vae["encoder.conv1.weight"] = tensor({24, 3, 3, 3, 3});
  EXPECT_EQ(recognise(vae).model, Model::Vae);
}

TEST(Recognise, AConvolutionWithJoinedAxes) {
  StoredTensors tensors = published_tensors("official_dit_i2v_a14b");
  tensors["patch_embedding.weight"] = tensor({5120 * 36, 1, 2, 2});
  EXPECT_EQ(recognise(tensors).model, Model::ImageExpert);
}

TEST(Recognise, OtherTransformersOfWan) {
  for (bool diffusers : {false, true}) {
    const auto with = [&](int64_t in_dim, const std::vector<std::string>& further) {
      return name_of(transformer(in_dim, further, diffusers));
    };
    const std::string image = diffusers ? "condition_embedder.image_embedder.norm1.bias" : "img_emb.proj.0.bias";
    const std::string position = diffusers ? "condition_embedder.image_embedder.pos_embed" : "img_emb.emb_pos";
    EXPECT_EQ(with(16, {"vace_patch_embedding.weight"}), "Wan VACE transformer");
    EXPECT_EQ(with(36, {"control_adapter.conv.weight"}), "Wan 2.2 Fun Camera transformer");
    EXPECT_EQ(with(32, {"control_adapter.conv.weight", image}), "Wan 2.1 Fun Camera transformer");
    EXPECT_EQ(with(16, {"audio_proj.audio_proj_glob_1.layer.bias"}), "HuMo transformer");
    EXPECT_EQ(with(36, {"audio_proj.proj1.weight", image}), "MultiTalk transformer");
    EXPECT_EQ(with(36, {"face_adapter.fuser_blocks.0.k_norm.weight", image}), "Wan Animate transformer");
    EXPECT_EQ(with(36, {"pose_patch_embedding.weight"}), "Wan Animate transformer");
    EXPECT_EQ(with(36, {image, position}), "Wan 2.1 first-last-frame-to-video transformer (needs CLIP)");
    EXPECT_EQ(with(36, {image}), "Wan 2.1 image-to-video transformer (needs CLIP)");
    EXPECT_EQ(with(48, {"ref_conv.weight", image}), "Wan 2.1 Fun Control transformer");
    EXPECT_EQ(with(52, {"ref_conv.weight"}), "Wan 2.2 Fun Control transformer");
    EXPECT_EQ(with(20, {}), "unknown transformer with 20 input channels");
    EXPECT_EQ(name_of(transformer(16, {}, diffusers, 5120, 3)), "unknown transformer with 3 output channels");
  }
  EXPECT_EQ(name_of(published_tensors("official_dit_ti2v_5b")), "Wan 2.2 TI2V-5B transformer");
  StoredTensors small = transformer(16, {}, false, 1536);
  std::erase_if(small, [](const auto& entry) {
    return entry.first.starts_with("blocks.3") && entry.first.size() > 8 && entry.first[8] != '.';
  });
  EXPECT_EQ(name_of(small), "Wan 2.1 T2V-1.3B transformer");
}

TEST(Recognise, OtherTextEncoders) {
  StoredTensors wrong = published_tensors("hf_umt5_xxl_encoder");
  wrong["shared.weight"] = tensor({32128, 4096});
  EXPECT_EQ(name_of(wrong), "T5 text encoder (Wan takes umt5-xxl)");
  wrong["shared.weight"] = tensor({250112, 4096});
  EXPECT_EQ(name_of(wrong), "mT5 text encoder (Wan takes umt5-xxl)");
  for (const char* list : {"hf_umt5_xxl_encoder", "gguf_umt5_xxl_encoder", "official_umt5_xxl_encoder"}) {
    StoredTensors one_table = published_tensors(list);
    std::erase_if(one_table, [](const auto& entry) {
      const std::string& name = entry.first;
      const bool table = name.find("relative_attention_bias") != name.npos || name.find("attn_rel_b") != name.npos ||
                         name.find("pos_embedding") != name.npos;
      return table && name.find(".0.") > name.find(".5.");
    });
    EXPECT_EQ(name_of(one_table), "T5 text encoder (Wan takes umt5-xxl)") << list << " without the table of block 5";
  }
}

TEST(Recognise, OtherVaes) {
  const std::string wide = "Wan 2.2 VAE (of TI2V-5B; the 14B models take that of Wan 2.1)";
  EXPECT_EQ(name_of(published_tensors("official_wan2_2_vae")), wide);
  StoredTensors diffusers =
      file_of({"encoder.down_blocks.0.resnets.0.norm1.gamma", "decoder.up_blocks.0.resnets.0.norm1.gamma",
               "encoder.conv_in.weight", "decoder.conv_in.weight"});
  diffusers["post_quant_conv.weight"] = tensor({48, 48, 1, 1, 1});
  EXPECT_EQ(name_of(diffusers), wide);
  StoredTensors pictures = published_tensors("diffusers_wan2_1_vae");
  pictures["encoder.conv_in.weight"] = tensor({128, 3, 3, 3});
  EXPECT_EQ(name_of(pictures), "VAE of another family");
  StoredTensors latents = published_tensors("official_wan2_1_vae");
  latents["conv2.weight"] = tensor({8, 8, 1, 1, 1});
  EXPECT_EQ(name_of(latents), "VAE with 8 latent channels");
  StoredTensors tiny = file_of({"encoder.0.weight", "encoder.4.conv.0.weight", "decoder.3.conv.0.weight"});
  tiny["decoder.1.weight"] = tensor({256, 16, 3, 3});
  EXPECT_EQ(name_of(tiny), "tiny VAE (taew2_1)");
  tiny["decoder.1.weight"] = tensor({256, 48, 3, 3});
  EXPECT_EQ(name_of(tiny), "tiny VAE (taew2_2)");
}

TEST(Recognise, OtherAudioEncoders) {
  StoredTensors base = published_tensors("wav2vec2_large_xlsr_53_english");
  std::erase_if(base, [](const auto& entry) {
    return entry.first.find("conv_layers") != entry.first.npos && entry.first.find("layer_norm") != entry.first.npos &&
           entry.first.find("conv_layers.0.") == entry.first.npos;
  });
  EXPECT_EQ(name_of(base),
            "Wav2Vec2 audio encoder with one norm, as wav2vec2-base (speech to video takes wav2vec2-large-xlsr-53)");
  StoredTensors large = published_tensors("wav2vec2_large_xlsr_53_english");
  for (int layer = 24; layer < 48; ++layer)
    large["wav2vec2.encoder.layers." + std::to_string(layer) + ".layer_norm.weight"] = tensor({1280});
  EXPECT_EQ(name_of(large),
            "Wav2Vec2 audio encoder of 48 layers, as XLS-R 1B (speech to video takes wav2vec2-large-xlsr-53)");
}

TEST(Recognise, LoraFilesOfAllSpellings) {
  for (const char* name :
       {"diffusion_model.blocks.0.self_attn.q.lora_down.weight", "blocks.0.attn1.to_q.lora_A.weight",
        "lora_unet_blocks_0_self_attn_q.lora_up.weight", "blocks.0.self_attn.q.lora_B.default.weight",
        "transformer.blocks.0.attn1.to_q.lora.up.weight", "blocks.0.self_attn.q.diff_b", "head.head.diff",
        "blocks.0.diff_m", "blocks.0.ffn.0.hada_w1_a", "lycoris_blocks_0_ffn_0.lokr_w1"})
    EXPECT_EQ(name_of(file_of({name, "blocks.0.self_attn.q.alpha"})), "LoRA") << name;
}

TEST(Recognise, OtherNetworks) {
  EXPECT_EQ(name_of(file_of({"module.block0.conv0.0.0.weight"})), "RIFE frame interpolation");
  EXPECT_EQ(name_of(file_of({"block0.conv0.0.0.weight", "encode.cnn0.weight"})), "RIFE frame interpolation");
  EXPECT_EQ(name_of(file_of({"extract.x", "predict_flow.y", "fuse.z"})), "FILM frame interpolation");
  EXPECT_EQ(name_of(file_of({"visual.transformer.0.attn.to_qkv.weight"})), "CLIP image encoder");
  EXPECT_EQ(name_of(file_of({"vision_model.encoder.layers.0.mlp.fc1.weight"})), "CLIP image encoder");
  EXPECT_EQ(name_of(file_of({"text_model.encoder.layers.0.mlp.fc1.weight"})), "CLIP text encoder");
  EXPECT_EQ(name_of(file_of({"vision_model.vision_model.post_layernorm.weight", "concept_embeds"})),
            "Stable Diffusion safety checker");
  EXPECT_EQ(name_of(file_of({"vit.embeddings.cls_token", "classifier.weight"})), "image classifier (ViT)");
  EXPECT_EQ(name_of(file_of({"double_blocks.0.img_attn.qkv.weight"})),
            "diffusion model of another family (Flux, HunyuanVideo)");
  EXPECT_EQ(
      name_of(file_of({"model.diffusion_model.patch_embedding.weight", "first_stage_model.encoder.conv1.weight"})),
      "several networks in one file");
  EXPECT_EQ(name_of(file_of({"some.weight"})), "unknown network");
  EXPECT_EQ(name_of({}), "unknown network");
  EXPECT_EQ(recognise({}).other, Other::Unknown);
  EXPECT_EQ(recognise(file_of({"blocks.0.self_attn.q.lora_A.weight"})).other, Other::Lora);
  for (const char* name : {"blocks.0.norm3.w_norm", "diffusion_model.blocks.0.norm3.b_norm",
                           "blocks.0.self_attn.q.lora_magnitude_vector", "blocks.0.self_attn.q.dora_scale"})
    EXPECT_EQ(recognise(file_of({name})).other, Other::Lora) << name;
  EXPECT_NE(recognise(file_of({"blocks.0.norm3.weight"})).other, Other::Lora);
  EXPECT_EQ(recognise(file_of({"vision_model.x"})).other, Other::Network);
}

}  // namespace
}  // namespace wan
