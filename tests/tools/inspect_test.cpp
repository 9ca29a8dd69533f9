#include "tools/cli/inspect_output.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <fstream>
#include <tuple>

#include "models/files/error.h"
#include "models/weights/format/safetensors.h"
#include "tests/layouts.h"
#include "tests/parts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/interpolators.h"
#include "tests/support/sparse_layouts.h"
#include "tests/tools/process.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";

const InspectedNetwork& network(const Inspection& inspection, const std::string& name) {
  for (const InspectedNetwork& entry : inspection.networks) {
    if (entry.name == name) return entry;
  }
  throw std::runtime_error(name + " was not listed");
}

double peak_megabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

TEST(Inspect, ListsAModelFolder) {
  const Inspection nano = inspect(kNano / "");
  EXPECT_EQ(nano.kind, "text-to-video model");
  ASSERT_EQ(nano.networks.size(), 4u);
  const InspectedNetwork& expert = network(nano, "high_noise_model");
  EXPECT_EQ(expert.kind, "text-to-video transformer");
  EXPECT_EQ(expert.files.size(), 2u);
  EXPECT_EQ(expert.config.at("num_layers"), 6);
  EXPECT_EQ(expert.dtypes.size(), 2u);
  EXPECT_EQ(network(nano, "models_t5_umt5-xxl-enc-bf16.pth").config.at("vocab"), 1344);
  EXPECT_EQ(network(nano, "models_t5_umt5-xxl-enc-bf16.pth").config.at("num_layers"), 2);
  EXPECT_EQ(network(nano, "Wan2.1_VAE.pth").config.at("z_dim"), 16);
  EXPECT_EQ(nano.files.size(), 4u);
  const std::string text = to_text(nano, false);
  EXPECT_NE(text.find("high_noise_model: text-to-video transformer, 2 files, "), std::string::npos) << text;
  EXPECT_NE(text.find("google/umt5-xxl/tokenizer.json: "), std::string::npos) << text;
  EXPECT_EQ(text.find("blocks.0"), std::string::npos);
  EXPECT_NE(to_text(nano, true).find("  patch_embedding.weight [128, 16, 1, 2, 2] F32\n"), std::string::npos);
}

TEST(Inspect, ListsOneNetworkAndOneFile) {
  const Inspection expert = inspect(kNano / "low_noise_model");
  ASSERT_EQ(expert.networks.size(), 1u);
  EXPECT_EQ(expert.networks[0].name, ".");
  EXPECT_EQ(expert.networks[0].rule, "only candidate in the folder") << "in no layout an expert lies at the top";
  EXPECT_EQ(expert.kind, "text-to-video transformer");
  const auto json = to_json(inspect(kNano / "Wan2.1_VAE.pth"), true);
  EXPECT_EQ(json.at("kind"), "Wan 2.1 VAE");
  EXPECT_EQ(json.at("networks").at(0).at("tensor_count"), 194);
  EXPECT_EQ(json.at("networks").at(0).at("tensors").size(), 194u);
  EXPECT_FALSE(to_json(expert, false).at("networks").at(0).contains("tensors"));
}

TEST(Inspect, SaysWhatAnInterpolatorDrawsAndItsVersion) {
  const TemporaryFolder folder;
  const auto said = [&](const std::map<std::string, at::Tensor>& tensors) {
    write_safetensors(folder / "weights.safetensors", tensors);
    const Inspection found = inspect(folder / "weights.safetensors");
    EXPECT_EQ(to_json(found, false).at("networks").at(0).at("use"), found.networks[0].use);
    return to_text(found, false);
  };
  const std::string film = said(film_weights()), rife = said(rife_weights());
  EXPECT_NE(film.find("FILM frame interpolation"), std::string::npos) << film;
  EXPECT_NE(film.find("  draws frames by --interpolator-model film\n"), std::string::npos) << film;
  EXPECT_NE(rife.find("  draws frames by --interpolator-model rife, version 4.6\n"), std::string::npos) << rife;
  std::map<std::string, at::Tensor> other = rife_weights(), less = film_weights();
  for (int i = 0; i < 4; ++i) {  // 4.5 has fewer outputs
    const std::string last = "block" + std::to_string(i) + ".lastconv.0";
    other[last + ".weight"] = other[last + ".weight"].narrow(1, 0, 20).contiguous();
    other[last + ".bias"] = other[last + ".bias"].narrow(0, 0, 20).contiguous();
  }
  EXPECT_NE(said(other).find("  draws no frames: "), std::string::npos) << said(other);
  EXPECT_NE(said(other).find("is RIFE 4.5"), std::string::npos) << said(other);
  less.erase("fuse.convs.0.2.0.weight");
  EXPECT_NE(said(less).find("  draws no frames: "), std::string::npos) << said(less);
  EXPECT_FALSE(to_json(inspect(kNano / "Wan2.1_VAE.pth"), false).at("networks").at(0).contains("use"));
}

TEST(Inspect, TellsThePublishedNetworksApart) {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> kinds = {{"official_dit_t2v_a14b", "text-to-video transformer"},
                                                    {"official_dit_i2v_a14b", "image-to-video transformer"},
                                                    {"s2v_14b", "speech-to-video transformer"},
                                                    {"official_umt5_xxl_encoder", "UMT5 encoder"},
                                                    {"official_wan2_1_vae", "Wan 2.1 VAE"},
                                                    {"wav2vec2_large_xlsr_53_english", "Wav2Vec2 audio encoder"}};
  for (const auto& [name, kind] : kinds) {
    write_sparse_pth(folder / (name + ".pth"), published_tensors(name));
    EXPECT_EQ(inspect(folder / (name + ".pth")).networks.at(0).kind, kind);
  }
  write_safetensors(folder / "other.safetensors", {{"a", at::ones({3})}});
  EXPECT_EQ(inspect(folder / "other.safetensors").kind, "unknown network");
  EXPECT_EQ(inspect(folder.path()).networks.size(), 7u);
}

TEST(Inspect, ListsASpeechFolder) {
  const TemporaryFolder folder;
  write_sparse_shards(folder.path(), published_tensors("s2v_14b"), 4);
  std::ofstream(folder / "config.json")
      << R"({"_class_name": "WanModel_S2V", "dim": 5120, "audio_inject_layers": [0, 4], "x": {}})";
  fs::create_directories(folder / "wav2vec2-large-xlsr-53-english");
  write_sparse_pth(folder / "wav2vec2-large-xlsr-53-english" / "pytorch_model.bin",
                   published_tensors("wav2vec2_large_xlsr_53_english"));
  const Inspection speech = inspect(folder.path());
  EXPECT_EQ(speech.kind, "part of a speech-to-video model") << "without text encoder, VAE and tokenizer";
  ASSERT_EQ(speech.networks.size(), 2u);
  EXPECT_EQ(network(speech, ".").files.size(), 4u);
  EXPECT_EQ(network(speech, ".").rule, "official layout");
  EXPECT_EQ(network(speech, ".").parameters, 16'295'755'609);
  EXPECT_EQ(network(speech, ".").config.dump(), R"({"dim":5120,"audio_inject_layers":[0,4]})");
  EXPECT_EQ(network(speech, "wav2vec2-large-xlsr-53-english").kind, "Wav2Vec2 audio encoder");
}

TEST(Inspect, ListsFullSizesInLittleMemoryInEveryLayout) {
  using layouts::Layout;
  const std::tuple<Layout, const char*> cases[] = {
      {Layout::Official,
       "low_noise_model: text-to-video transformer, 6 files, 1095 tensors, 14288491584 parameters, 57.15 GB of F32\n"},
      {Layout::Gguf, "wan2.2_t2v_low_noise_14B_Q4_K.gguf: text-to-video transformer, 1 file, 1095 tensors, "},
      {Layout::ComfyFp8,
       "diffusion_models/wan2.2_t2v_low_noise_14B_fp8.safetensors: text-to-video transformer, 1 file, 1095 tensors, "},
      {Layout::Diffusers,
       "transformer_2: text-to-video transformer, 12 files, 1095 tensors, 14288491584 parameters, "}};
  for (const auto& [layout, line] : cases) {
    const TemporaryFolder folder;
    layouts::write_sparse_layout(layout, folder.path());
    const double before = peak_megabytes();
    const auto start = std::chrono::steady_clock::now();
    const std::string text = to_text(inspect(folder.path()), true);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::cout << std::string(line).substr(0, std::string(line).find(':')) << ": " << seconds << " s, "
              << peak_megabytes() - before << " MB\n";
    EXPECT_NE(text.find(line), std::string::npos) << text.substr(0, 2000);
    EXPECT_LT(peak_megabytes() - before, 200);
  }
}

TEST(Inspect, FilesThatDoNotCountDoNotMatter) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  const std::string before = to_text(inspect(folder / "m"), true);
  fs::create_directories(folder / "m/.cache/huggingface/download");
  fs::create_directories(folder / "m/lost+found");
  for (const char* name : {"._Wan2.1_VAE.pth", ".DS_Store", "high_noise_model/._config.json", "x.safetensors.part",
                           "high_noise_model/._diffusion_pytorch_model-00001-of-00002.safetensors",
                           "google/umt5-xxl/.DS_Store", ".cache/model.safetensors", "Wan2.1_VAE.pth.incomplete"})
    std::ofstream(folder / "m" / name) << "Mac OS X";
  EXPECT_EQ(to_text(inspect(folder / "m"), true), before);
}

TEST(Inspect, NamesTheCodesOfTensorsAndTheirBytes) {
  const fs::path formats = fs::path(WAN_SOURCE_DIR) / "tests/formats";
  const auto tensors_of = [](const fs::path& file) {
    return nlohmann::json::parse(to_json(inspect(file), true).dump()).at("networks").at(0);
  };
  const auto sum = [](const nlohmann::json& network) {
    uint64_t bytes = 0;
    for (const auto& tensor : network.at("tensors")) bytes += tensor.at("bytes").get<uint64_t>();
    return bytes;
  };
  const nlohmann::json q4 = tensors_of(formats / "gguf/q4_k.gguf");
  const nlohmann::json& first = *q4.at("tensors").begin();
  EXPECT_EQ(first.at("dtype"), "Q4_K");
  EXPECT_EQ(first.at("bytes").get<int64_t>(),
            first.at("shape")[0].get<int64_t>() * first.at("shape")[1].get<int64_t>() / 256 * 144);
  EXPECT_EQ(sum(q4), q4.at("bytes"));
  const nlohmann::json fp8 = tensors_of(formats / "fp8/comfy_old_scaled.safetensors");
  std::map<std::string, int64_t> dtypes;
  for (const auto& tensor : fp8.at("tensors")) ++dtypes[tensor.at("dtype").get<std::string>()];
  EXPECT_EQ(nlohmann::json(dtypes), fp8.at("dtypes"));
  EXPECT_GT(dtypes["F8_E4M3"], 0);
  EXPECT_EQ(sum(fp8), fp8.at("bytes"));
  EXPECT_NE(to_text(inspect(formats / "gguf/q4_k.gguf"), true).find("] Q4_K\n"), std::string::npos);
}

TEST(Inspect, OfSingleFilesTellsRulesSizesAndTokenizer) {
  const TemporaryFolder folder;
  layouts::write_single(folder / "f/t2v_high_noise.safetensors", kNano / "high_noise_model");
  layouts::write_single(folder / "f/t2v_low_noise.safetensors", kNano / "low_noise_model");
  layouts::write_single(folder / "f/umt5.safetensors", kNano / "models_t5_umt5-xxl-enc-bf16.pth");
  layouts::copy_tokenizer(folder / "f/umt5-xxl");
  const Inspection found = inspect(folder / "f");
  EXPECT_EQ(found.kind, "part of a text-to-video model") << "without a VAE";
  const InspectedNetwork& expert = network(found, "t2v_low_noise.safetensors");
  EXPECT_EQ(expert.part, "low_noise");
  EXPECT_EQ(expert.rule, "only candidate in the folder");
  EXPECT_EQ(expert.config.at("num_layers"), 6);
  EXPECT_EQ(expert.config.at("dim"), 128);
  EXPECT_EQ(expert.config.at("in_dim"), 16);
  ASSERT_FALSE(found.files.empty());
  EXPECT_EQ(found.files[0].name, "umt5-xxl/tokenizer.json");
  EXPECT_EQ(found.files[0].rule, "beside the text encoder");
  EXPECT_EQ(found.remarks, std::vector<std::string>());
}

TEST(Inspect, SeveralCandidatesAreNoModelBeforeAFlagChooses) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    layouts::write_single(folder / "f" / (std::string(name) + "_high_noise.safetensors"), kNano / "high_noise_model");
    layouts::write_single(folder / "f" / (std::string(name) + "_low_noise.safetensors"), kNano / "low_noise_model");
  }
  layouts::write_single(folder / "f/plain.safetensors", kNano / "high_noise_model");
  layouts::write_single(folder / "f/HIGH_to_low.safetensors", kNano / "high_noise_model");
  fs::create_hard_link(folder / "f/a_low_noise.safetensors", folder / "f/again_low_noise.safetensors");
  const Inspection found = inspect(folder / "f");
  EXPECT_EQ(found.kind, "text-to-video files, several that could be high_noise and low_noise");
  EXPECT_EQ(network(found, "b_high_noise.safetensors").rule, "one of 6 candidates");
  ASSERT_EQ(found.remarks.size(), 4u);
  EXPECT_EQ(
      found.remarks[0],
      "several could be high_noise (text-to-video transformer): a_high_noise.safetensors, "
      "b_high_noise.safetensors, c_high_noise.safetensors, d_high_noise.safetensors and 2 more; --high-noise FILE "
      "chooses");
  EXPECT_EQ(found.remarks[2],
            "HIGH_to_low.safetensors: the name says both high and low noise; --high-noise FILE or --low-noise "
            "FILE says which expert it is");
  EXPECT_EQ(found.remarks[3],
            "plain.safetensors: the name says neither high nor low noise; --high-noise FILE or --low-noise FILE says "
            "which expert it is");
}

TEST(Inspect, VerifiesChecksumsAsAUserAsks) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "m");
  std::ofstream(folder / "m/x.pth") << "abc";
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"inspect", "m"});
    return Process("wan-infer", words, folder.path()).finish();
  };
  Outcome outcome = run({"--verify"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("[--verify] must have checksums"), std::string::npos) << outcome.err;
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  std::ofstream(folder / "list") << abc << "  x.pth\n";
  outcome = run({"--verify", "list"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "ok: x.pth\nm: compared with list: 1 ok, 0 differ, 0 absent, 0 unreadable, 0 not listed\n");
  std::ofstream(folder / "m/x.pth") << "abd";
  outcome = run({"--verify=list", "--log-format", "json"});
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("differ"), 1);
  EXPECT_EQ(json.at("files").at(0).at("state"), "differs");
  EXPECT_EQ(json.at("files").at(0).at("wanted"), abc);
  EXPECT_EQ(run({"--verify", "absent"}).code, 2);
  std::ofstream(folder / "m/x.pth") << "abc";
  std::ofstream(folder / "list") << abc << "  x.pth\n" << abc << "  gone.pth\n";
  outcome = run({"--verify", "list"});
  EXPECT_EQ(outcome.code, 3) << "a file that is listed and absent";
  EXPECT_NE(outcome.out.find("absent: gone.pth\n"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("1 ok, 0 differ, 1 absent"), std::string::npos) << outcome.out;
}

TEST(Inspect, VerifyingNothingIsAFailure) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "m");
  std::ofstream(folder / "m/x.pth") << "abc";
  std::ofstream(folder / "list") << std::string(64, 'a') << "  other.pth\n";
  for (const char* path : {"m", "m/x.pth"}) {
    const Outcome outcome = Process("wan-infer", {"inspect", path, "--verify", "list"}, folder.path()).finish();
    EXPECT_EQ(outcome.code, 3) << outcome.out;
    EXPECT_NE(outcome.out.find("not listed: x.pth\n"), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.err.find("] must have a file that list names and that can be read, has none: nothing was "
                               "compared; "),
              std::string::npos)
        << outcome.err;
  }
}

TEST(Inspect, AFileWithoutTensorsIsToldAsThat) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {});
  const std::string text = to_text(inspect(folder / "x.safetensors"), false);
  EXPECT_NE(text.find("no network, holds no tensors; download it again\n"), std::string::npos) << text;
}

TEST(Inspect, RefusesWhatIsNotThereOrBroken) {
  const TemporaryFolder folder;
  EXPECT_THROW(inspect(folder / "absent"), ModelError);
  EXPECT_THROW(inspect(folder.path()), ModelError);
  std::ofstream(folder / "Wan2.1_VAE.pth") << "PK broken";
  EXPECT_THROW(inspect(folder.path()), ModelError);
  fs::remove(folder / "Wan2.1_VAE.pth");
  fs::create_directories(folder / "high_noise_model");
  write_safetensors(folder / "high_noise_model/diffusion_pytorch_model.safetensors", {{"a", at::ones({1})}});
  EXPECT_EQ(inspect(folder.path()).networks.size(), 1u);
  for (const std::string& config : {"[]"s, "{"s, std::string(500'000, '['), std::string(1'000'001, ' ')}) {
    std::ofstream(folder / "high_noise_model/config.json") << config;
    EXPECT_THROW(inspect(folder.path()), ModelError) << config.substr(0, 10);
  }
}

}  // namespace wan
