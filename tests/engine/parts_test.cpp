// The parts of a model are found in every layout that users have, and what cannot be one is told.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <ATen/ATen.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <tuple>

#include "engine/residency/model_check.h"
#include "engine/residency/networks.h"
#include "engine/residency/open_network.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/safetensors.h"
#include "tests/layouts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/sparse_layouts.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;

/// "NAME by RULE" of a network.
std::string found(const ModelParts& parts, Network network) {
  const ModelPart& part = parts.networks.at(network);
  return part.name + " by " + part.rule;
}
std::string tokenizer(const ModelParts& parts) {
  return parts.tokenizer.name + " by " + parts.tokenizer.rule;
}

TEST(Parts, OfTheOfficialLayoutLieAtTheirPlaces) {
  const ModelParts parts = find_parts(request(Task::V2V, kNano));
  EXPECT_EQ(found(parts, Network::HighNoise), "high_noise_model by official layout");
  EXPECT_EQ(found(parts, Network::TextEncoder), "models_t5_umt5-xxl-enc-bf16.pth by official layout");
  EXPECT_EQ(tokenizer(parts), "google/umt5-xxl by official layout");
  const ModelParts speech = find_parts(request(Task::S2V, kGolden / "Wan2.2-S2V-14B" / ""));
  EXPECT_EQ(found(speech, Network::Speech), ". by official layout");
  EXPECT_EQ(found(speech, Network::AudioEncoder), "wav2vec2-large-xlsr-53-english by official layout");
  EXPECT_FALSE(speech.networks.contains(Network::HighNoise));
}

TEST(Parts, TheOfficialLayoutGoesBeforeOtherFiles) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  write_single(folder / "m/wan2.2_t2v_high_noise_14B_fp16.safetensors", kNano / "high_noise_model");
  EXPECT_EQ(found(find_parts(request(Task::T2V, folder / "m")), Network::HighNoise),
            "high_noise_model by official layout");
}

TEST(Parts, OfDiffusersLieBesideItsIndex) {
  const TemporaryFolder folder;
  write_diffusers(folder / "m");
  const ModelParts parts = find_parts(request(Task::T2V, folder / "m"));
  EXPECT_EQ(found(parts, Network::HighNoise), "transformer by diffusers layout");
  EXPECT_EQ(found(parts, Network::LowNoise), "transformer_2 by diffusers layout");
  EXPECT_EQ(found(parts, Network::TextEncoder), "text_encoder by diffusers layout");
  EXPECT_EQ(found(parts, Network::Vae), "vae by diffusers layout");
  EXPECT_EQ(tokenizer(parts), "tokenizer by diffusers layout");
  EXPECT_NO_THROW(check_model(parts));
}

TEST(Parts, AtThePlaceOfAPartMayHaveAnyNameAndFormat) {
  const TemporaryFolder folder;
  write_diffusers(folder / "m");
  const auto vae = [&] { return found(find_parts(request(Task::T2V, folder / "m")), Network::Vae); };
  for (const char* name : {"Wan2.1_VAE.pth", "diffusion_pytorch_model.bin"}) {
    fs::remove_all(folder / "m/vae");
    fs::create_directory(folder / "m/vae");
    fs::copy(kNano / "Wan2.1_VAE.pth", folder / "m/vae" / name);
    EXPECT_EQ(vae(), "vae/" + std::string(name) + " by diffusers layout");
    EXPECT_NO_THROW(check_model(find_parts(request(Task::T2V, folder / "m"))));
  }
  fs::create_directory(folder / "m/vae/inner");
  fs::rename(folder / "m/vae/diffusion_pytorch_model.bin", folder / "m/vae/inner/x.pth");
  EXPECT_EQ(vae(), "vae/inner/x.pth by only candidate in the folder") << "further down the scan looks";
  fs::remove_all(folder / "m/vae/inner");
  EXPECT_EQ(vae(), "vae by diffusers layout") << "an empty place is told by check_model";
}

// Whole or empty, it may hold zeros where bytes have not come yet.
TEST(Parts, AnUnfinishedDownloadAtThePlaceOfAPartIsNone) {
  const TemporaryFolder folder;
  write_diffusers(folder / "m");
  const fs::path whole = folder / "m/vae/diffusion_pytorch_model.safetensors", part = whole.string() + ".part";
  fs::rename(whole, part);
  const auto refusal = [&]() -> std::string {
    try {
      check_model(find_parts(request(Task::T2V, folder / "m")));
    } catch (const ModelError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refusal().find("its download is unfinished: diffusion_pytorch_model.safetensors.part"), std::string::npos)
      << refusal();
  fs::resize_file(part, 0);
  EXPECT_NE(refusal().find("its download is unfinished: diffusion_pytorch_model.safetensors.part"), std::string::npos)
      << refusal();
}

TEST(Parts, SeveralFilesAtThePlaceOfAPartAreToldApartByTheirTensors) {
  const TemporaryFolder folder;
  write_diffusers(folder / "m");
  fs::remove_all(folder / "m/vae");
  fs::create_directory(folder / "m/vae");
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "m/vae/a.pth");
  write_safetensors(folder / "m/vae/other.safetensors", {{"decoder.conv_in.weight", at::ones({2, 2})}});
  EXPECT_EQ(found(find_parts(request(Task::T2V, folder / "m")), Network::Vae),
            "vae/a.pth by only candidate in the folder");
}

TEST(Parts, OfComfyUiLieInItsFoldersAmongOthers) {
  const TemporaryFolder folder;
  write_comfy(folder / "ComfyUI/models");
  for (const char* root : {"ComfyUI/models", "ComfyUI"}) {
    const ModelParts parts = find_parts(request(Task::T2V, folder / root));
    const std::string above = root == std::string("ComfyUI") ? "models/" : "";
    EXPECT_EQ(found(parts, Network::HighNoise),
              above +
                  "diffusion_models/wan/wan2.2_t2v_high_noise_14B_fp16.safetensors by ComfyUI folder "
                  "diffusion_models");
    EXPECT_EQ(found(parts, Network::LowNoise),
              above + "unet/Wan2.2-T2V-A14B-LowNoise-Q8_0.safetensors by ComfyUI folder unet");
    EXPECT_EQ(found(parts, Network::Vae), above + "vae/wan_2.1_vae.safetensors by ComfyUI folder vae");
    EXPECT_NO_THROW(check_model(parts));
  }
  const ModelParts image = find_parts(request(Task::I2V, folder / "ComfyUI"));
  EXPECT_EQ(image.path_of(Network::LowNoise).filename(), "wan2.2_i2v_low_noise_14B_fp16.safetensors");
}

TEST(Parts, OfAFolderOfSingleFilesAreToldByTheirTensors) {
  const TemporaryFolder folder;
  write_single(folder / "Wan2_2-T2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors", kNano / "high_noise_model");
  write_single(folder / "LowNoise/Wan2.2-T2V-A14B.safetensors", kNano / "low_noise_model");
  write_single(folder / "encoders/a.safetensors", kNano / "models_t5_umt5-xxl-enc-bf16.pth");
  write_single(folder / "b.safetensors", kNano / "Wan2.1_VAE.pth");
  copy_tokenizer(folder / "encoders/umt5-xxl");
  fs::create_symlink(folder.path(), folder / "again");  // a loop
  fs::create_symlink("itself", folder / "itself");
  const ModelParts parts = find_parts(request(Task::T2V, folder.path()));
  EXPECT_EQ(found(parts, Network::HighNoise),
            "Wan2_2-T2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors by only candidate in the folder");
  EXPECT_EQ(parts.networks.at(Network::LowNoise).name, "LowNoise/Wan2.2-T2V-A14B.safetensors");
  EXPECT_EQ(parts.networks.at(Network::TextEncoder).name, "encoders/a.safetensors");
  EXPECT_EQ(parts.networks.at(Network::Vae).name, "b.safetensors");
  EXPECT_EQ(tokenizer(parts), "encoders/umt5-xxl by beside the text encoder");
  EXPECT_NO_THROW(check_model(parts));
  std::vector<std::string> names;
  for (const FileIdentity& file : identities(parts)) names.push_back(file.part + " " + file.name);
  EXPECT_EQ(names, (std::vector<std::string>{"low_noise LowNoise/Wan2.2-T2V-A14B.safetensors",
                                             "high_noise Wan2_2-T2V-A14B-HIGH_fp8_e4m3fn_scaled_KJ.safetensors",
                                             "vae b.safetensors", "text_encoder encoders/a.safetensors",
                                             "tokenizer encoders/umt5-xxl/tokenizer.json"}));
}

TEST(Parts, OfADownloadCacheAreFoundInItsSnapshot) {
  const TemporaryFolder folder;
  const fs::path model = folder / "models--Wan-AI--Wan2.2-S2V-14B";
  fs::create_directories(model / "snapshots");
  fs::copy(kGolden / "Wan2.2-S2V-14B", model / "snapshots/0a1b", fs::copy_options::recursive);
  const ModelParts parts = find_parts(request(Task::S2V, model));
  EXPECT_EQ(parts.networks.at(Network::Speech).name, "snapshots/0a1b");
  EXPECT_EQ(parts.networks.at(Network::Vae).name, "snapshots/0a1b/Wan2.1_VAE.pth");
  EXPECT_EQ(tokenizer(parts), "snapshots/0a1b/google/umt5-xxl by beside the text encoder");
  EXPECT_NO_THROW(check_model(parts));
}

TEST(Parts, ATokenizerMayLieInsideTheTextEncoder) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "m");
  for (const char* expert : {"high_noise_model", "low_noise_model"})
    fs::copy(kNano / expert, folder / "m" / expert, fs::copy_options::recursive);
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "m/Wan2.1_VAE.pth");
  const Checkpoint encoder = Checkpoint::open(kNano / "models_t5_umt5-xxl-enc-bf16.pth");
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : encoder.tensors()) tensors[name] = encoder.map(name);
  const auto file = MappedFile::open(kNano / "google/umt5-xxl/spiece.model");
  tensors["spiece_model"] = at::empty({int64_t(file->bytes().size())}, at::kByte);
  std::memcpy(tensors["spiece_model"].mutable_data_ptr(), file->bytes().data(), file->bytes().size());
  write_safetensors(folder / "m/umt5_xxl_fp16.safetensors", tensors);
  const ModelParts parts = find_parts(request(Task::T2V, folder / "m"));
  EXPECT_EQ(tokenizer(parts), "umt5_xxl_fp16.safetensors by inside the text encoder");
  EXPECT_NO_THROW(check_model(parts));
  const std::string text = "a red circle moves up";
  EXPECT_EQ(open_tokenizer(parts).encode(text), text::Tokenizer::open(kNano / "google/umt5-xxl").encode(text));
  Request asked = request(Task::T2V, folder / "m");
  asked.tokenizer = kNano / "google/umt5-xxl/spiece.model";
  EXPECT_EQ(open_tokenizer(find_parts(asked)).encode(text), open_tokenizer(parts).encode(text));
}

TEST(Parts, AreTakenFromTheirFlagsFirst) {
  Request asked = request(Task::T2V, kNano);
  const fs::path other = kGolden / "Wan2.2-T2V-A14B";
  asked.vae = other / "Wan2.1_VAE.pth";
  asked.high_noise = (other / "high_noise_model/").string();
  const ModelParts parts = find_parts(asked);
  EXPECT_EQ(parts.path_of(Network::Vae), other / "Wan2.1_VAE.pth");
  EXPECT_EQ(found(parts, Network::Vae), "Wan2.1_VAE.pth by --vae") << "no folders of the user's";
  EXPECT_EQ(found(parts, Network::HighNoise), "high_noise_model by --high-noise");
  EXPECT_EQ(found(parts, Network::LowNoise), "low_noise_model by official layout");
}

TEST(Parts, NeedNoModelWhereAllAreNamed) {
  Request asked = all_named(kNano);
  const ModelParts parts = find_parts(asked);
  EXPECT_EQ(tokenizer(parts), "umt5-xxl by beside the text encoder");
  EXPECT_NO_THROW(check_model(parts));
  asked.tokenizer = kNano / "google/umt5-xxl/tokenizer.json";
  EXPECT_EQ(tokenizer(find_parts(asked)), "tokenizer.json by --tokenizer");
  EXPECT_NO_THROW(check_model(find_parts(asked)));
}

TEST(Parts, OfSpeechHaveATransformerAndAnAudioEncoder) {
  const TemporaryFolder folder;
  const fs::path model = kGolden / "Wan2.2-S2V-14B";
  fs::copy(model / "models_t5_umt5-xxl-enc-bf16.pth", folder / "t5.pth");
  fs::copy(model / "google", folder / "google", fs::copy_options::recursive);
  write_single(folder / "vae/x.safetensors", model / "Wan2.1_VAE.pth");
  write_single(folder / "wav2vec2.safetensors", model / "wav2vec2-large-xlsr-53-english");
  Request asked = request(Task::S2V, folder.path());
  asked.transformer = model.string();
  const ModelParts parts = find_parts(asked);
  EXPECT_EQ(found(parts, Network::Speech), "Wan2.2-S2V-14B by --transformer");
  EXPECT_EQ(parts.networks.at(Network::AudioEncoder).name, "wav2vec2.safetensors");
}

TEST(Parts, WithEqualNamesInSeveralFoldersAreToldApart) {
  const TemporaryFolder folder;
  write_single(folder / "a/model.safetensors", kNano / "high_noise_model");
  write_single(folder / "b/model.safetensors", kNano / "low_noise_model");
  Request asked = all_named(kNano);
  asked.high_noise = folder / "a/model.safetensors";
  asked.low_noise = folder / "b/model.safetensors";
  const ModelParts parts = find_parts(asked);
  std::set<std::string> names;
  for (const PartFile& file : parts.files()) names.insert(file.name);
  EXPECT_TRUE(names.contains("high_noise/model.safetensors") && names.contains("low_noise/model.safetensors"));
  Notes notes;
  note_search(parts, notes);
  ASSERT_EQ(notes.list().size(), 2u) << "nothing but the flags says which expert is which";
  EXPECT_TRUE(notes.list()[0].text.starts_with("model.safetensors is taken as the high-noise expert as asked"));
  Notes none;
  note_search(find_parts(request(Task::T2V, kNano)), none);
  EXPECT_TRUE(none.list().empty());
}

TEST(Parts, OneFileUnderTwoNamesIsOneCandidate) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  fs::create_symlink("wan_2.1_vae.safetensors", folder / "models/vae/link.safetensors");
  fs::create_hard_link(folder / "models/vae/wan_2.1_vae.safetensors", folder / "models/vae/more.safetensors");
  EXPECT_EQ(find_parts(request(Task::T2V, folder.path())).path_of(Network::Vae).filename(), "link.safetensors");
}

double peak_megabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

/// Finds the parts; prints the time, and returns by how many MB the most memory of this process grew.
double growth_of_search(const Request& asked, const std::string& what, ModelParts& parts) {
  const double before = peak_megabytes();
  const auto start = std::chrono::steady_clock::now();
  parts = find_parts(asked);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double grown = peak_megabytes() - before;
  std::cout << what << ": " << seconds << " s, " << grown << " MB\n";
  return grown;
}

TEST(Parts, OfFullSizeAreFoundInLittleMemoryInEveryLayout) {
  const std::tuple<Layout, const char*, const char*> cases[] = {
      {Layout::Official, "official", "low_noise_model by official layout"},
      {Layout::Gguf, "GGUF", "wan2.2_t2v_low_noise_14B_Q4_K.gguf by only candidate in the folder"},
      {Layout::ComfyFp8, "ComfyUI, fp8",
       "diffusion_models/wan2.2_t2v_low_noise_14B_fp8.safetensors by ComfyUI folder diffusion_models"},
      {Layout::Diffusers, "diffusers", "transformer_2 by diffusers layout"}};
  for (const auto& [layout, what, low] : cases) {
    const TemporaryFolder folder;
    write_sparse_layout(layout, folder.path());
    ModelParts parts;
    EXPECT_LT(growth_of_search(request(Task::T2V, folder.path()), what, parts), 200) << what;
    EXPECT_EQ(found(parts, Network::LowNoise), low);
  }
}

TEST(Parts, AmongHundredsOfOtherFilesAreFoundInLittleMemory) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  const auto other = published_tensors("wav2vec2_large_xlsr_53_english");
  for (int i = 0; i < 200; ++i)  // 1.3 GB each, holes
    write_sparse_shards(folder / "models/diffusion_models" / std::to_string(i), other, 1);
  ModelParts parts;
  EXPECT_LT(growth_of_search(request(Task::T2V, folder.path()), "200 other files", parts), 200);
  EXPECT_EQ(parts.path_of(Network::Vae).filename(), "wan_2.1_vae.safetensors");
}

}  // namespace
}  // namespace wan
