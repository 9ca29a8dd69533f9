// Sets of model files by name.
#include "engine/residency/model_sets.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "models/files/error.h"
#include "tests/layouts.h"
#include "tests/support.h"
#include "tests/support/parts_refusal.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

Request of_set(const std::string& name, const fs::path& file, Task task = Task::T2V) {
  Request asked = request(task, name);
  asked.models = file.string();
  return asked;
}

TEST(ModelSets, NamePartsRelativeToTheirFile) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  write_single(folder / "files/vae.safetensors", kNano / "Wan2.1_VAE.pth");
  write(folder / "models.json", R"({"sets": {"mine": {"task": "t2v", "model": "m", "vae": "files/vae.safetensors"},
    "other": {"task": "i2v"}}})");
  const ModelParts parts = find_parts(of_set("mine", folder / "models.json"));
  EXPECT_EQ(parts.networks.at(Network::Vae).rule, "set mine");
  EXPECT_EQ(parts.networks.at(Network::Vae).name, "vae.safetensors");
  EXPECT_EQ(parts.networks.at(Network::HighNoise).rule, "official layout");
  EXPECT_EQ(refusal(of_set("mine", folder / "models.json", Task::V2V)), "accepted");
  Request asked = of_set("mine", folder / "models.json");
  asked.vae = kNano / "Wan2.1_VAE.pth";
  EXPECT_EQ(find_parts(asked).networks.at(Network::Vae).rule, "--vae") << "flags go before sets";
  EXPECT_EQ(refusal(of_set("mine", folder / "models.json", Task::I2V)),
            "[mine] must be a set for i2v, is for t2v; --model names another");
}

TEST(ModelSets, OneThatLacksPartsIsNamedWithThemAndTheWayOut) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "m");
  write(folder / "models.json", R"({"sets": {"mine": {"high_noise": ")" + (kNano / "high_noise_model").string() +
                                    R"(", "low_noise": ")" + (kNano / "low_noise_model").string() +
                                    R"("}, "some": {"model": "m"}, "gone": {"vae": "x/absent.pth"}}})");
  EXPECT_EQ(refusal(of_set("mine", folder / "models.json")),
            "[mine] lacks the text encoder (models_t5_umt5-xxl-enc-bf16.pth or a file of any name), the VAE "
            "(Wan2.1_VAE.pth or a file of any name) and the tokenizer (a folder google/umt5-xxl, or inside the text "
            "encoder); text_encoder, vae and tokenizer in set mine, or --text-encoder FILE, --vae FILE and --tokenizer "
            "DIR name them, weights.md lists what t2v needs");
  const std::string some = refusal(of_set("some", folder / "models.json"));
  EXPECT_NE(some.find("[m] lacks the text encoder"), std::string::npos) << some;
  EXPECT_NE(some.find("; text_encoder, high_noise, low_noise, vae and tokenizer in set some, or --text-encoder FILE"),
            std::string::npos)
      << some;
  const std::string gone = refusal(of_set("gone", folder / "models.json"));
  EXPECT_NE(gone.find("absent.pth] must be the VAE, is not there; models.json has it as vae of set gone; --vae names "
                      "another"),
            std::string::npos)
      << gone;
  Request flags = all_named(kNano);
  flags.vae = "";
  EXPECT_EQ(refusal(flags),
            "[model] lacks the VAE (Wan2.1_VAE.pth or a file of any name); --vae FILE names it, weights.md lists what "
            "t2v needs");
}

TEST(ModelSets, AreFoundWhereTheUserKeepsThem) {
  const TemporaryFolder folder;
  const char* const before = std::getenv("XDG_CONFIG_HOME");
  const std::string kept = before ? before : "";
  setenv("XDG_CONFIG_HOME", folder.path().c_str(), 1);
  EXPECT_TRUE(read_sets("").empty()) << "none is no error";
  write(folder / "wan-infer/models.json", R"({"sets": {"mine": {"model": ")" + kNano.string() + R"("}}})");
  EXPECT_EQ(refusal(request(Task::T2V, "mine")), "accepted");
  EXPECT_NE(refusal(request(Task::T2V, "yours")).find("sets there are 'mine'; --model names the folder"),
            std::string::npos)
      << refusal(request(Task::T2V, "yours"));
  before ? setenv("XDG_CONFIG_HOME", kept.c_str(), 1) : unsetenv("XDG_CONFIG_HOME");
}

TEST(ModelSets, AnExistingPathGoesBeforeASet) {
  const TemporaryFolder folder;
  write(folder / "models.json", R"({"sets": {")" + kNano.string() + R"(": {"vae": "absent"}}})");
  EXPECT_EQ(refusal(of_set(kNano.string(), folder / "models.json")), "accepted");
}

TEST(ModelSets, OneThatIsWrongLeavesTheOthers) {
  const TemporaryFolder folder;
  write(folder / "models.json", R"({"sets": {"mine": {"model": ")" + kNano.string() +
                                    R"("}, "other": {"hi_noise": "x", "vae": "v"}, "third": 3}})");
  EXPECT_EQ(refusal(of_set("mine", folder / "models.json")), "accepted");
  const std::string why = refusal(of_set("other", folder / "models.json"));
  EXPECT_NE(why.find("[models.json] set 'other' has 'hi_noise', which is not known; there are task, model, "),
            std::string::npos)
      << why;
  EXPECT_NE(refusal(of_set("fourth", folder / "models.json")).find("sets there are 'mine', 'other' and 'third'"),
            std::string::npos);
}

TEST(ModelSets, OfManyTheRestIsCounted) {
  const TemporaryFolder folder;
  std::string sets;
  for (char name = 'a'; name < 'a' + 16; ++name)
    sets += std::string(sets.empty() ? "" : ", ") + "\"" + name + "\": {\"model\": \"m\"}";
  write(folder / "models.json", "{\"sets\": {" + sets + "}}");
  const std::string why = refusal(of_set("other", folder / "models.json"));
  EXPECT_NE(why.find("sets there are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j' and 6 more; "), std::string::npos)
      << why;
}

TEST(ModelSets, ThatAreBrokenSaySo) {
  const TemporaryFolder folder;
  const auto why = [&](const std::string& text) {
    write(folder / "models.json", text);
    return refusal(of_set("mine", folder / "models.json"));
  };
  EXPECT_EQ(why("{"), "[models.json] must be whole JSON, ends at line 1, column 2 with something open; close it");
  EXPECT_EQ(why("{\"sets\": {\n  \"mine\": {},\n}}"),
            "[models.json] must be JSON, breaks at line 3, column 1; correct it there, or in front of it");
  EXPECT_EQ(why(""), "[models.json] must be JSON, is empty; write it, or name another file");
  EXPECT_NE(why("[]").find("has no object \"sets\""), std::string::npos);
  EXPECT_NE(why(R"({"sets": {"mine": 3}})").find("set 'mine' must be an object of paths, got 3"), std::string::npos);
  EXPECT_NE(why(R"({"sets": {"mine": {"vae": 3}}})").find("set 'mine' must have texts, has 3 as 'vae'"),
            std::string::npos);
  EXPECT_NE(why(R"({"sets": {"mine": {"hi_noise": "x"}}})").find("has 'hi_noise', which is not known"),
            std::string::npos);
  EXPECT_NE(why(R"({"sets": {"mine": {"task": "t2i"}}})").find("must have t2v, i2v, v2v or s2v as its task"),
            std::string::npos);
  EXPECT_NE(why(R"({"sets": {"mine": {"model": "absent"}}})").find("[absent] must be a folder, is not there"),
            std::string::npos);
  EXPECT_NE(why(std::string(100'000, '[')).find("[models.json] "), std::string::npos);
  EXPECT_EQ(refusal(of_set("mine", folder / "no.json")),
            "[no.json] must be the file of named sets, is not there; write it, or name another with --models");
}

}  // namespace
}  // namespace wan
