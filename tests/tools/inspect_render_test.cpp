// What inspect says that a render would say: parts that are lacking, unused, damaged or closed.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "engine/residency/find_parts.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/layouts.h"
#include "tests/support.h"
#include "tests/support/other_user.h"
#include "tests/support/parts_refusal.h"
#include "tests/tools/process.h"
#include "tools/cli/inspect_output.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;

std::string rule_of(const Inspection& inspection, const std::string& name) {
  for (const InspectedNetwork& network : inspection.networks)
    if (network.name == name) return network.rule;
  return "not listed";
}

void expect_remark(const Inspection& inspection, const std::string& begin) {
  const auto is_it = [&](const std::string& remark) { return remark.starts_with(begin); };
  EXPECT_TRUE(std::any_of(inspection.remarks.begin(), inspection.remarks.end(), is_it)) << begin << "\n"
                                                                                        << to_text(inspection, false);
}

std::string failure(const fs::path& path) {
  try {
    inspect(path);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(InspectRender, SaysWhatIsLackingInTheWordsOfARender) {
  const char* const parts[] = {"google", "Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth", "low_noise_model"};
  for (const char* lacking : parts) {
    const TemporaryFolder folder;
    fs::copy(kNano, folder / "m", fs::copy_options::recursive);
    EXPECT_EQ(inspect(folder / "m").kind, "text-to-video model");
    fs::remove_all(folder / "m" / lacking);
    const Inspection found = inspect(folder / "m");
    EXPECT_EQ(found.kind, "part of a text-to-video model") << lacking;
    const std::string words = refusal(request(Task::T2V, folder / "m"));
    EXPECT_NE(words.find("] lacks the "), std::string::npos) << words;
    const std::string text = to_text(found, false);
    EXPECT_NE(text.find("t2v and v2v would be refused: " + words + "\n"), std::string::npos) << words << "\n" << text;
    const auto task = to_json(found, false).at("tasks").at(0);
    EXPECT_EQ(task.at("task"), "t2v");
    EXPECT_EQ(task.at("whole"), false);
    const auto& error = task.at("errors").at(0);
    EXPECT_EQ("[" + error.at("field").get<std::string>() + "] " + error.at("text").get<std::string>(), words);
    const Outcome listed = Process("wan-infer", {"inspect", "m"}, folder.path()).finish();
    EXPECT_EQ(listed.code, 0) << "something could be listed";
  }
}

TEST(InspectRender, AFoldersNameMayHoldWhatEndsASubject) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "a] b", fs::copy_options::recursive);
  fs::remove(folder / "a] b/Wan2.1_VAE.pth");
  const Inspection found = inspect(folder / "a] b");
  const auto errors = to_json(found, false).at("tasks").at(0).at("errors");
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_TRUE(errors.at(0).at("field").get<std::string>().ends_with("a] b")) << "deep folders are named with their own";
  EXPECT_TRUE(errors.at(0).at("text").get<std::string>().starts_with("lacks the VAE (")) << errors;
}

TEST(InspectRender, SaysNothingOfAWholeModelOrOfOneNetwork) {
  const Inspection whole = inspect(kNano);
  ASSERT_EQ(whole.tasks.size(), 1u);
  EXPECT_TRUE(whole.tasks[0].refusals.empty());
  EXPECT_EQ(to_json(whole, false).at("tasks").at(0).at("whole"), true);
  EXPECT_EQ(to_text(whole, false).find("would be refused"), std::string::npos);
  EXPECT_TRUE(inspect(kNano / "low_noise_model").tasks.empty()) << "it is asked about alone";
  EXPECT_TRUE(inspect(kNano / "Wan2.1_VAE.pth").tasks.empty());
  const TemporaryFolder folder;
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "Wan2.1_VAE.pth");
  fs::copy(kNano / "models_t5_umt5-xxl-enc-bf16.pth", folder / "models_t5_umt5-xxl-enc-bf16.pth");
  expect_remark(inspect(folder.path()), "no transformer that can be read is there: ");
}

TEST(InspectRender, ASecondFileOfAPartIsNotUsed) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  write_single(folder / "m/wan2.2_high_noise_a.safetensors", kNano / "high_noise_model");
  write_single(folder / "m/wan2.2_high_noise_b.safetensors", kNano / "high_noise_model");
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "m/other_vae.pth");
  const Inspection official = inspect(folder / "m");
  EXPECT_EQ(official.kind, "text-to-video model");
  EXPECT_EQ(rule_of(official, "high_noise_model"), "official layout");
  for (const char* name : {"wan2.2_high_noise_a.safetensors", "wan2.2_high_noise_b.safetensors"})
    EXPECT_EQ(rule_of(official, name), "not used: high_noise_model is taken");
  EXPECT_EQ(rule_of(official, "other_vae.pth"), "not used: Wan2.1_VAE.pth is taken");
  EXPECT_NE(to_text(official, false).find("  part vae, not used: Wan2.1_VAE.pth is taken\n"), std::string::npos);
  write_comfy(folder / "models");
  fs::create_hard_link(folder / "models/vae/wan_2.1_vae.safetensors", folder / "models/vae/twin.safetensors");
  const Inspection comfy = inspect(folder / "models");
  EXPECT_EQ(rule_of(comfy, "vae/twin.safetensors"), "ComfyUI folder vae");
  EXPECT_EQ(rule_of(comfy, "vae/wan_2.1_vae.safetensors"), "the same file as vae/twin.safetensors");
}

TEST(InspectRender, AgreesWithARenderAboutAFileOfAnotherNameInAPlace) {
  const TemporaryFolder folder;
  write_diffusers(folder / "m");
  fs::remove_all(folder / "m/vae");
  fs::create_directory(folder / "m/vae");
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "m/vae/Wan2.1_VAE.pth");
  const Inspection found = inspect(folder / "m");
  EXPECT_EQ(found.kind, "text-to-video model");
  EXPECT_EQ(rule_of(found, "vae/Wan2.1_VAE.pth"), "diffusers layout");
  EXPECT_EQ(refusal(request(Task::T2V, folder / "m")), "accepted");
  fs::rename(folder / "m/vae/Wan2.1_VAE.pth", folder / "m/vae/diffusion_pytorch_model.bin");
  EXPECT_EQ(rule_of(inspect(folder / "m"), "vae/diffusion_pytorch_model.bin"), "diffusers layout");
}

TEST(InspectRender, EndsWithZeroWhereSomethingCouldBeListed) {
  const TemporaryFolder folder;
  const auto run = [&] { return Process("wan-infer", {"inspect", "m"}, folder.path()).finish(); };
  fs::create_directories(folder / "m");
  for (int i = 0; i < 13; ++i) std::ofstream(folder / "m" / ("broken" + std::to_string(i) + ".gguf")) << "nothing";
  const Outcome none = run();
  EXPECT_EQ(none.code, 3);
  EXPECT_EQ(std::count(none.err.begin(), none.err.end(), '\n'), 11) << none.err;
  EXPECT_NE(none.err.find("broken0.gguf] "), std::string::npos) << none.err;
  EXPECT_NE(none.err.find("[m] holds 3 more that cannot be read"), std::string::npos) << none.err;
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "m/vae.pth");
  const Outcome one = run();
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_NE(one.out.find("broken7.gguf: unreadable, ["), std::string::npos) << one.out;
}

TEST(InspectRender, WhatIsDamagedAtItsPlaceIsToldForItsTasks) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  fs::resize_file(folder / "m/Wan2.1_VAE.pth", 1000);
  const Inspection found = inspect(folder / "m");
  EXPECT_EQ(found.kind, "part of a text-to-video model");
  ASSERT_EQ(found.tasks.at(0).refusals.size(), 1u);
  EXPECT_EQ(found.tasks[0].refusals[0].field, "m/Wan2.1_VAE.pth");
  const std::string text = to_text(found, false), line = "\nt2v and v2v would be refused: [m/Wan2.1_VAE.pth] ";
  EXPECT_NE(text.find(line + found.tasks[0].refusals[0].text + "\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("would be refused"), text.rfind("would be refused")) << text;
}

TEST(InspectRender, TellsClosedFolders) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  write_comfy(folder / "models");
  fs::create_directories(folder / "empty/inner");
  for (const char* open : {"", "m", "models", "empty"})
    fs::permissions(folder / open, fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  const auto text_of = [&](const fs::path& closed, const fs::path& inspected) {
    const fs::perms before = fs::status(closed).permissions();
    fs::permissions(closed, fs::perms::none);
    const auto text = as_other_user([&] {
      try {
        return to_text(inspect(inspected), false);
      } catch (const ModelError& error) {
        return std::string(error.what());
      }
    });
    fs::permissions(closed, before);
    return text;
  };
  const auto vae = text_of(folder / "models/vae", folder / "models");
  if (!vae) GTEST_SKIP() << "root's rights cannot be given up here";
  for (const char* words : {"models: part of a text-to-video model, part of an image-to-video model\n",
                            "cannot look into vae: Permission denied", "not looked into vae: Permission denied\n"})
    EXPECT_NE(vae->find(words), std::string::npos) << words << "\n" << *vae;
  const auto expert = text_of(folder / "m/low_noise_model", folder / "m");
  EXPECT_NE(expert->find("t2v and v2v would be refused: [m/low_noise_model] must be a folder that can be listed: "
                         "Permission denied"),
            std::string::npos)
      << *expert;
  const auto tokenizer = text_of(folder / "m/google/umt5-xxl", folder / "m");
  EXPECT_NE(tokenizer->find("umt5-xxl] must be the tokenizer's folder, cannot be looked into: Permission denied"),
            std::string::npos)
      << *tokenizer;
  const auto inner = text_of(folder / "empty/inner", folder / "empty");
  EXPECT_NE(inner->find("must hold checkpoints, holds none; not looked into inner: Permission denied"),
            std::string::npos)
      << *inner;
}

TEST(InspectRender, GivesTheNotesOfARender) {
  const TemporaryFolder folder;
  fs::copy(kNano, folder / "m", fs::copy_options::recursive);
  fs::remove_all(folder / "m/high_noise_model");
  std::map<std::string, at::Tensor> tensors = {{"vae.a.weight", at::ones({2, 2})},
                                               {"text_encoders.a.weight", at::ones({2, 2})}};
  const Checkpoint expert = Checkpoint::open(kNano / "high_noise_model");
  for (const auto& [name, stored] : expert.tensors())
    tensors["model.diffusion_model." + name] = expert.map(name).contiguous();
  write_safetensors(folder / "m/all_high_noise.safetensors", tensors);
  fs::create_directories(folder / "m/1/2/3/4");
  std::ofstream(folder / "m/1/2/3/4/x.gguf") << "x";
  const Inspection found = inspect(folder / "m");
  const std::vector<std::string> notes = find_parts(request(Task::T2V, folder / "m")).remarks;
  EXPECT_EQ(notes.size(), 2u);
  for (const std::string& note : notes) expect_remark(found, note);
  expect_remark(found, "not looked into 1/2/3/4: more than 3 folders deep");
  const std::string left_out =
      "all_high_noise.safetensors holds other networks as well, which are not used: text_encoders, vae";
  expect_remark(found, left_out);
  const Inspection file = inspect(folder / "m/all_high_noise.safetensors");
  expect_remark(file, left_out);
  EXPECT_EQ(to_json(file, false).at("networks").at(0).at("left_out").size(), 2u);
  fs::create_directories(folder / "deep/1/2/3/4");
  std::ofstream(folder / "deep/1/2/3/4/x.gguf") << "x";
  EXPECT_NE(failure(folder / "deep").find("holds none; not looked into 1/2/3/4: more than 3 folders deep"),
            std::string::npos)
      << failure(folder / "deep");
  EXPECT_NE(refusal(request(Task::T2V, folder / "deep")).find("not looked into 1/2/3/4, more than 3 folders deep"),
            std::string::npos);
}

}  // namespace
}  // namespace wan
