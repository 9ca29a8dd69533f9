#include "engine/job/few_steps.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "engine/request/parse.h"
#include "engine/residency/distilled.h"
#include "engine/residency/model_reuse.h"
#include "models/weights/format/safetensors.h"
#include "tests/parts.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";

TEST(Distilled, IsToldByNames) {
  for (const char* name :
       {"Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH_fp16.safetensors",
        "wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022.safetensors",
        "Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32.safetensors", "Wan2.2-Distill-Models",
        "Wan2.2_I2V_A14B_LOW_4steps_lora_rank64_Seko_V1_forKJ.safetensors", "my 8-steps.gguf", "x_4_step.safetensors"})
    EXPECT_TRUE(distilled(name)) << name;
  for (const char* name : {"wan2.2_t2v_high_noise_14B_fp16.safetensors", "Wan2.2-T2V-A14B", "lora_14steps.safetensors",
                           "step4.safetensors", "distilbert", "undistilled.safetensors", "non-distilled.gguf",
                           "20steps", "0step", "sekotsu.safetensors", ""})
    EXPECT_FALSE(distilled(name)) << name;
}

TEST(Distilled, IsToldByTextsOfTheFile) {
  EXPECT_TRUE(distilled("a.safetensors", {{"modelspec.title", "Wan 2.2 Lightning"}}));
  EXPECT_TRUE(distilled("a.safetensors", {{"ss_output_name", "wan_4steps"}}));
  EXPECT_FALSE(distilled("a.safetensors", {{"ss_training_log", "4 steps"}, {"format", "pt"}}));
  TemporaryFolder folder;
  write_safetensors(folder / "a.safetensors", {{"x", at::ones({1})}}, {{"modelspec.description", "distilled"}});
  EXPECT_TRUE(distilled_file(folder / "a.safetensors"));
  EXPECT_FALSE(distilled_file(folder / "absent.safetensors"));
}

TEST(Distilled, TheNumberOfStepsOfALora) {
  TemporaryFolder folder;
  const fs::path named = folder / "wan-lora-8steps/low.safetensors", plain = folder / "a.safetensors";
  EXPECT_EQ(lora_steps("wan_high_4steps.safetensors"), 4);
  EXPECT_EQ(lora_steps("/x/y-4steps/wan_8-step_high.safetensors"), 8) << "its own name goes before";
  EXPECT_EQ(lora_steps(named), 8);
  EXPECT_EQ(lora_steps("/x/wan_4step_8step.safetensors"), 0);
  EXPECT_EQ(lora_steps("/x/wan_lightning.safetensors"), 0);
  EXPECT_EQ(lora_steps("/x/wan_18steps.safetensors"), 0);
  write_safetensors(plain, {{"x", at::ones({1})}}, {{"modelspec.title", "Wan in 6 steps"}, {"ss_log", "2 steps"}});
  EXPECT_EQ(lora_steps(plain), 6);
}

TEST(Distilled, NothingOfItIsReusedByAcceleration) {
  Request request = parse(Task::T2V, {{"prompt", "x"}, {"seed", 1}, {"acceleration", "regular"}},
                          {.need_model = false, .check_files = false});
  const ModelParts parts = parts_of(kNano, Task::T2V);
  EXPECT_FALSE(reuse_model(request, parts).distilled);
  request.loras.push_back({.path = "wan_4steps_high.safetensors", .scales = {1}, .transformer = "high"});
  EXPECT_TRUE(reuse_model(request, parts).distilled);
  EXPECT_EQ(step_reuse(request, parts).nothing, "the model is distilled to few steps, of which each changes much");
}

struct FewSteps : testing::Test {
  /// "subject: text" of each note.
  std::string notes(const json& more, const fs::path& model = kNano, const std::vector<fs::path>& loras = {}) {
    json fields = {{"prompt", "x"}, {"seed", 1}};
    if (more.is_object()) fields.update(more);
    Request request = parse(Task::T2V, fields, {.need_model = false, .check_files = false});
    for (const fs::path& file : loras)
      request.loras.push_back({.path = file.string(), .scales = {1}, .transformer = ""});
    return notes_of(request, model);
  }
  /// The same of LoRAs as --lora has them.
  std::string notes_with(const json& more, const std::vector<Lora>& loras) {
    json fields = {{"prompt", "x"}, {"seed", 1}};
    if (more.is_object()) fields.update(more);
    Request request = parse(Task::T2V, fields, {.need_model = false, .check_files = false});
    request.loras = loras;
    return notes_of(request, kNano);
  }
  static std::string notes_of(const Request& request, const fs::path& model) {
    Notes found;
    note_few_steps(request, parts_of(model, Task::T2V), found);
    std::string text;
    for (const Note& note : found.list()) text += note.subject + ": " + note.text + "; " + note.change + "\n";
    return text;
  }
  TemporaryFolder folder;
};

TEST_F(FewSteps, NoNoteWhereAllFits) {
  EXPECT_EQ(notes({}), "");
  EXPECT_EQ(notes({{"preset", "lightning4"}}, kNano, {"a_4steps_high.safetensors", "a_4steps_low.safetensors"}), "");
  EXPECT_EQ(notes_with({{"preset", "lightning8-3phase"}},
                       {{"a_4steps_high.safetensors", {0, 1, 1, 1}, ""}, {"a_4steps_low.safetensors", {1}, ""}}),
            "");
  EXPECT_EQ(notes({{"num_inference_steps", 8}, {"guidance_scale", 1}, {"guidance_scale_2", 1}, {"solver", "euler"}},
                  kNano, {"lightx2v.safetensors"}),
            "");
  EXPECT_EQ(notes({{"num_inference_steps", 4},
                   {"guidance_scale", 1},
                   {"guidance_scale_2", 1},
                   {"solver", "euler"},
                   {"sigmas", {1, 0.9375, 0.83333, 0.625}},
                   {"boundary", 0.9}},
                  kNano, {"lightx2v.safetensors"}),
            "")
      << "the preset's values one by one";
  EXPECT_EQ(notes({{"num_inference_steps", 4},
                   {"guidance_scale", 1},
                   {"guidance_scale_2", 1},
                   {"solver", "step_distill"},
                   {"sigmas", {1, 0.9375, 0.83333, 0.625}},
                   {"boundary", 0.9}},
                  kNano, {"lightx2v.safetensors"}),
            "")
      << "the solver that such models are made with";
}

TEST_F(FewSteps, SettingsThatADistilledFileWasNotMadeForAreTold) {
  const std::vector<fs::path> lora = {"/x/wan_lightning_low.safetensors"};
  std::string told = notes({}, kNano, lora);
  EXPECT_NE(
      told.find("wan_lightning_low.safetensors), and this run has 27 steps, guidance up to 4 and the solver unipc"),
      told.npos)
      << told;
  EXPECT_NE(told.find("--preset lightning4"), told.npos) << told;
  told = notes({{"num_inference_steps", 4}, {"guidance_scale", 1}, {"guidance_scale_2", 1.5}}, kNano, lora);
  EXPECT_NE(told.find("this run has guidance up to 1.5 and the solver unipc"), told.npos) << told;
  told = notes({{"num_inference_steps", 4},
                {"guidance_scale", 1},
                {"guidance_scale_2", 1},
                {"solver", "euler"},
                {"sigmas", {1, 0.9375, 0.83333, 0.625}},
                {"boundary", 0.8}},
               kNano, lora);
  EXPECT_NE(told.find("this run has steps on the other expert"), told.npos) << told;
  told = notes(
      {{"num_inference_steps", 4}, {"guidance_scale", 1}, {"guidance_scale_2", 1}, {"solver", "euler"}, {"shift", 8}},
      kNano, lora);
  EXPECT_NE(told.find("this run has other noise levels"), told.npos) << told;

  told = notes({}, kNano, {"/x/wan_8steps_low.safetensors"});
  EXPECT_NE(told.find("--num-inference-steps 8 --guidance-scale 1 --guidance-scale-2 1 --solver euler is what it is"),
            told.npos)
      << told;
  EXPECT_EQ(told.find("lightning4"), told.npos) << told;

  const fs::path model = folder / "Wan2.2-T2V-4steps";
  fs::create_directory_symlink(kNano, model);
  EXPECT_NE(notes({}, model).find("high_noise_model and low_noise_model"), std::string::npos) << notes({}, model);
  EXPECT_EQ(notes({{"preset", "lightning4"}}, model), "");
}

TEST_F(FewSteps, APresetWithoutADistilledFileIsTold) {
  const std::string told = notes({{"preset", "lightning4"}, {"guidance_scale", 2}});
  EXPECT_NE(told.find("guidance_scale: is 2, where preset lightning4 has 1; leave it out"), told.npos) << told;
  EXPECT_NE(told.find("no file says that it is"), told.npos) << told;
  EXPECT_NE(told.find("--lora HIGH@high --lora LOW@low"), told.npos) << told;
  const std::string phases = notes({{"preset", "lightning8-3phase"}}, kNano, {"a_seko.safetensors"});
  EXPECT_NE(phases.find("--lora HIGH:0,1,1,1@high --lora LOW@low"), phases.npos) << phases;
  EXPECT_EQ(notes({{"preset", "lightning8-3phase"}}, kNano, {"a_seko_low.safetensors"}).find("off in its first phase"),
            std::string::npos)
      << "is off in the first phase";
  const fs::path pair = folder / "Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1";
  EXPECT_EQ(notes({{"preset", "lightning4"}}, kNano,
                  {pair / "high_noise_model.safetensors", pair / "low_noise_model.safetensors"}),
            "")
      << "its folder's name";
}

TEST_F(FewSteps, SettingsBesideAPresetThatNoDistilledFileIsMadeForAreToldInCapitals) {
  const std::vector<fs::path> pair = {"/x/a_lightning_high.safetensors", "/x/a_lightning_low.safetensors"};
  const std::string loud = "preset: THE SETTINGS DO NOT FIT THE MODEL: distilled to few steps without guidance";
  std::string told = notes(
      {{"preset", "lightning4"}, {"num_inference_steps", 40}, {"guidance_scale", 5}, {"solver", "unipc"}}, kNano, pair);
  EXPECT_NE(told.find(loud), told.npos) << told;
  EXPECT_NE(told.find("this run has 40 steps, guidance up to 5 and the solver unipc beside --preset lightning4"),
            told.npos)
      << told;
  told = notes({{"preset", "lightning4"}, {"num_inference_steps", 6}}, kNano, pair);
  EXPECT_EQ(told.find(loud), told.npos) << told;
  const std::vector<Lora> phases = {{pair[0].string(), {0, 1, 1, 1}, ""}, {pair[1].string(), {1}, ""}};
  told = notes_with({{"preset", "lightning8-3phase"}, {"guidance_scale", 6}}, phases);
  EXPECT_NE(told.find("this run has guidance up to 6 beside"), told.npos) << told;
}

TEST_F(FewSteps, AnExpertWithNothingDistilledIsTold) {
  const std::string told =
      notes({{"preset", "lightning4"}}, kNano, {"/x/a_lightning_high.safetensors", "/x/style_low.safetensors"});
  EXPECT_NE(told.find("THE SETTINGS DO NOT FIT THE MODEL: 2 of the 4 steps are not distilled, those of the low-noise "
                      "expert: distilled to few steps is only a_lightning_high.safetensors"),
            told.npos)
      << told;
  const std::vector<Lora> off = {{"/x/a_lightning_high.safetensors", {1}, ""},
                                 {"/x/a_lightning_low.safetensors", {0}, ""}};
  EXPECT_NE(notes_with({{"preset", "lightning4"}}, off).find("2 of the 4 steps are not distilled"), std::string::npos);
  EXPECT_EQ(notes_with({{"preset", "lightning4"}}, {{"/x/lightning.safetensors", {1}, "both"}}), "");
}

TEST_F(FewSteps, DistilledLorasThatAreOffAreTold) {
  const std::vector<Lora> off = {{"/x/a_lightning_high.safetensors", {0}, ""},
                                 {"/x/a_lightning_low.safetensors", {0, 0}, ""}};
  const std::string told = notes_with({{"preset", "lightning4"}}, off);
  EXPECT_NE(
      told.find("THE SETTINGS DO NOT FIT THE MODEL: lightning4 is for models that are distilled to few steps, "
                "and nothing that is on is distilled: a_lightning_high.safetensors and a_lightning_low.safetensors "
                "have scale 0"),
      told.npos)
      << told;
  EXPECT_EQ(notes_with({}, off), "") << "without a preset an ordinary run";
}

TEST_F(FewSteps, ALoraOfMoreStepsThanThePresetIsTold) {
  const std::vector<fs::path> eight = {"/x/a_8steps_high.safetensors", "/x/a_8steps_low.safetensors"};
  const std::string told = notes({{"preset", "lightning4"}}, kNano, eight);
  EXPECT_NE(told.find("a_8steps_low.safetensors is distilled to 8 steps, and this run has 4 (--preset lightning4); "
                      "--num-inference-steps 8 --guidance-scale 1 --guidance-scale-2 1 --solver euler"),
            told.npos)
      << told;
  EXPECT_EQ(notes({{"preset", "lightning4"}, {"num_inference_steps", 8}}, kNano, eight).find("is distilled to 8"),
            std::string::npos);
}

}  // namespace
}  // namespace wan
