// Models in other layouts than the official one, as a user gives them to the built program.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/layouts.h"
#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;
using Words = std::vector<std::string>;

class ProgramLayouts : public testing::Test {
 protected:
  Outcome run(const Words& words) { return Process("wan-infer", words, folder.path()).finish(); }
  Outcome render(const std::string& out, const Words& model, const Words& more = {}) {
    Words words = {"t2v",
                   "--prompt",
                   "a red circle moves up",
                   "--width",
                   "32",
                   "--height",
                   "32",
                   "--num-frames",
                   "17",
                   "--num-inference-steps",
                   "2",
                   "--seed",
                   "42",
                   "--device",
                   "cpu",
                   "--threads",
                   "1",
                   "--out",
                   out};
    words.insert(words.end(), model.begin(), model.end());
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  std::string content(const std::string& name) const {
    std::ifstream in(folder / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static Words named() {
    const Request asked = all_named(kNano);
    return {"--high-noise",   asked.high_noise,   "--low-noise", asked.low_noise,
            "--text-encoder", asked.text_encoder, "--vae",       asked.vae};
  }
  TemporaryFolder folder;
};

TEST_F(ProgramLayouts, TheSameWeightsGiveTheSameVideo) {
  write_comfy(folder / "ComfyUI/models");
  const Outcome comfy = render("a.mp4", {"--model", "ComfyUI"}, {"--metadata", "none"});
  ASSERT_EQ(comfy.code, 0) << comfy.err;
  EXPECT_NE(comfy.err.find("part part=\"high-noise expert\" "
                           "name=models/diffusion_models/wan/wan2.2_t2v_high_noise_14B_fp16.safetensors "
                           "rule=\"ComfyUI folder diffusion_models\"\n"),
            std::string::npos)
      << comfy.err;
  ASSERT_EQ(render("b.mp4", {"--model", kNano}, {"--metadata", "none"}).code, 0);
  ASSERT_EQ(render("c.mp4", named(), {"--metadata", "none"}).code, 0);
  EXPECT_FALSE(content("a.mp4").empty());
  EXPECT_TRUE(content("a.mp4") == content("b.mp4"));
  EXPECT_TRUE(content("a.mp4") == content("c.mp4"));
}

TEST_F(ProgramLayouts, AVideoTellsItsPartsAndIsMadeAgainFromThemUnderOtherNames) {
  write_comfy(folder / "ComfyUI/models");
  ASSERT_EQ(render("a.mp4", {"--model", "ComfyUI"}).code, 0);
  const nlohmann::json shown = nlohmann::json::parse(run({"show", "a.mp4"}).out);
  const auto& files = shown.at("files");
  const auto vae = std::find_if(files.begin(), files.end(), [](const auto& file) { return file.at("part") == "vae"; });
  ASSERT_NE(vae, files.end());
  EXPECT_EQ(vae->at("name"), "models/vae/wan_2.1_vae.safetensors");
  EXPECT_EQ(vae->at("found"), "ComfyUI folder vae");
  fs::rename(folder / "ComfyUI/models/vae/wan_2.1_vae.safetensors", folder / "ComfyUI/models/vae/renamed.safetensors");
  EXPECT_EQ(run({"replay", "a.mp4", "--threads", "1"}).code, 0);
  write_single(folder / "ComfyUI/models/vae/renamed.safetensors", kGolden / "Wan2.2-T2V-A14B/Wan2.1_VAE.pth");
  const Outcome other = run({"replay", "a.mp4", "--threads", "1"});
  EXPECT_EQ(other.code, 3) << other.err;
  EXPECT_NE(other.err.find("[models/vae/wan_2.1_vae.safetensors] must be as recorded, "), std::string::npos)
      << other.err;
  EXPECT_NE(other.err.find(", is models/vae/renamed.safetensors of "), std::string::npos) << other.err;
}

TEST_F(ProgramLayouts, ASetIsGivenByItsName) {
  std::ofstream(folder / "sets.json") << R"({"sets": {"nano": {"task": "t2v", "model": ")" << kNano.string() << "\"}}}";
  const Outcome made = render("a.mp4", {"--model", "nano", "--models", "sets.json"});
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(nlohmann::json::parse(run({"show", "a.mp4"}).out).at("request").at("model"), "nano");
  const Outcome again = run({"replay", "a.mp4", "--models", "sets.json", "--threads", "1"});
  EXPECT_EQ(again.code, 0) << again.err;
  std::ofstream(folder / "list.jsonl") << R"({"task": "t2v", "prompt": "x", "model": "nano", "out": "b.mp4"})"
                                       << "\n";
  const Outcome batch = run({"check", "batch", "list.jsonl", "--models", "sets.json"});
  EXPECT_EQ(batch.code, 0) << batch.out << batch.err;
  const Outcome unknown = render("c.mp4", {"--model", "nanno", "--models", "sets.json"});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_NE(unknown.err.find("wan-infer: [nanno] is no folder, no file and no set of models.json; sets there are "
                             "'nano'"),
            std::string::npos)
      << unknown.err;
}

TEST_F(ProgramLayouts, FilesOfOneModelInABatchGoWithItsLines) {
  std::ofstream(folder / "list.jsonl")
      << R"({"task": "t2v", "prompt": "x", "out": "a.mp4", "num_frames": 17})"
      << "\n"
      << R"({"task": "t2v", "prompt": "x", "out": "b.mp4", "num_frames": 17, "model": ")" << kNano.string() << "\"}\n";
  Words words = {"check", "batch", "list.jsonl"};
  for (const std::string& word : named()) words.push_back(word);
  *(std::find(words.begin(), words.end(), "--vae") + 1) = folder / "absent.pth";
  const Outcome found = run(words);
  EXPECT_EQ(found.code, 3) << found.out << found.err;
  EXPECT_NE((found.out + found.err).find("[absent.pth] must be the VAE, is not there; vae names it"), std::string::npos)
      << found.out << found.err;
  EXPECT_NE(found.out.find("b.mp4"), std::string::npos) << found.out;
}

TEST_F(ProgramLayouts, ANameWithoutFolderIsThatOfAFileInTheModelsFolder) {
  write_comfy(folder / "night/models");
  const Words named = {"--model", "night/models", "--high-noise", "wan2.2_t2v_high_noise_14B_fp16.safetensors"};
  const std::string note = "is taken from the model's folder: diffusion_models/wan/wan2.2_t2v_high_noise_14B_fp16";
  const Outcome made = render("a.mp4", named);
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_NE(made.err.find(note), std::string::npos) << made.err;
  fs::rename(folder / "night/models", folder / "models");  // beside the video, where replay looks
  const Outcome again = run({"replay", "a.mp4", "--threads", "1"});
  fs::rename(folder / "models", folder / "night/models");
  EXPECT_EQ(again.code, 0) << again.err;
  std::ofstream(folder / "night/list.jsonl")
      << R"({"task": "t2v", "prompt": "x", "out": "b.mp4", "num_frames": 17, "model": "models", "high_noise": ")"
      << named[3] << "\"}\n";
  const Outcome batch = run({"check", "batch", "night/list.jsonl"});
  EXPECT_EQ(batch.code, 0) << batch.out << batch.err;
  EXPECT_NE(batch.out.find(note), std::string::npos) << batch.out;
  // What lies in the current folder is not what a manifest elsewhere means.
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "mine.pth");
  std::ofstream(folder / "night/list.jsonl")
      << R"({"task": "t2v", "prompt": "x", "out": "b.mp4", "num_frames": 17, "model": "models", "vae": "mine.pth"})"
      << "\n";
  EXPECT_EQ(run({"check", "batch", "night/list.jsonl"}).code, 3);
}

TEST_F(ProgramLayouts, CheckSaysOfAWrongFileWhatARenderSays) {
  const std::string lora = (fs::path(WAN_SOURCE_DIR) / "tests/formats/lora/comfy_ab_noalpha.safetensors").string();
  for (const std::string& file : {lora, (kNano / "Wan2.1_VAE.pth").string()}) {
    Words words = {"check", "t2v",   "--prompt", "x",   "--device",     "cpu",
                   "--out", "a.mp4", "--model",  kNano, "--high-noise", file};
    const Outcome checked = run(words);
    words.erase(words.begin());
    const Outcome rendered = run(words);
    EXPECT_EQ(checked.code, 3) << checked.out;
    EXPECT_EQ(rendered.code, 3) << rendered.err;
    const size_t begin = rendered.err.find("] must be a text-to-video transformer as the high-noise expert of t2v, is");
    ASSERT_NE(begin, std::string::npos) << rendered.err;
    const std::string said = rendered.err.substr(begin, rendered.err.find('\n', begin) - begin);
    EXPECT_NE(checked.out.find(said), std::string::npos) << checked.out;
    EXPECT_TRUE(checked.out.starts_with("a.mp4: cannot run\n")) << checked.out;
  }
}

TEST_F(ProgramLayouts, InspectTellsThePartsOfAnyLayout) {
  write_comfy(folder / "models");
  const Outcome listed = run({"inspect", "models"});
  EXPECT_EQ(listed.code, 0) << "one cannot be read; the others are listed: " << listed.err;
  EXPECT_NE(listed.out.find("models: text-to-video model, image-to-video model\n"), std::string::npos) << listed.out;
  EXPECT_NE(listed.out.find("  part low_noise, ComfyUI folder unet\n"), std::string::npos) << listed.out;
  EXPECT_NE(listed.out.find("high_noise_broken.safetensors: unreadable, ["), std::string::npos) << listed.out;
  const Outcome json = run({"inspect", "models/vae/wan_2.1_vae.safetensors", "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.out).at("networks").at(0).at("part"), "vae") << json.err;
}

}  // namespace
}  // namespace wan
