// What inspect says of sets of models.json, whole ones and others.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "models/files/error.h"
#include "tests/layouts.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/parts_refusal.h"
#include "tests/tools/process.h"
#include "tools/cli/inspect_output.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace layouts;

/// A file with the set "mine".
fs::path write_set(const TemporaryFolder& folder, const std::string& members) {
  std::ofstream(folder / "sets.json") << R"({"sets": {"mine": {)" << members << "}}}";
  return folder / "sets.json";
}

/// The inspection has one refusal for each task, in the words of a render with the set.
void expect_refusals(const Inspection& found, const fs::path& sets, const std::vector<Task>& tasks) {
  ASSERT_EQ(found.tasks.size(), tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) {
    Request asked = request(tasks[i], "mine");
    asked.models = sets.string();
    ASSERT_EQ(found.tasks[i].refusals.size(), 1u);
    const InspectedRefusal& told = found.tasks[i].refusals[0];
    EXPECT_EQ("[" + told.field + "] " + told.text, refusal(asked));
    EXPECT_NE(to_text(found, false).find(" would be refused: " + refusal(asked) + "\n"), std::string::npos)
        << to_text(found, false);
  }
}

TEST(InspectSets, ListsThemByNameAndFromTheirFile) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "wan-infer");
  std::ofstream(folder / "wan-infer/models.json")
      << R"({"sets": {"mine": {"task": "t2v", "high_noise": ")" << (kNano / "high_noise_model").string()
      << R"(", "vae": "absent.pth"}, "bad": {"hi_noise": "x"}}})";
  const Inspection all = inspect(folder / "wan-infer/models.json");
  EXPECT_EQ(all.kind, "sets of models");
  const std::string text = to_text(all, false);
  EXPECT_NE(text.find("set mine, t2v, high_noise high_noise_model, vae absent.pth\n"), std::string::npos) << text;
  EXPECT_NE(text.find("set bad: cannot be used: set 'bad' has 'hi_noise', which is not known"), std::string::npos)
      << text;
  const char* const before = std::getenv("XDG_CONFIG_HOME");
  const std::string kept = before ? before : "";
  setenv("XDG_CONFIG_HOME", folder.path().c_str(), 1);
  const Inspection mine = inspect("mine");
  ASSERT_EQ(mine.networks.size(), 2u);
  EXPECT_EQ(mine.networks[0].name, "high_noise_model");
  EXPECT_EQ(mine.networks[0].rule, "set mine");
  EXPECT_EQ(mine.networks[0].part, "high_noise");
  EXPECT_EQ(mine.networks[1].name, "absent.pth");
  EXPECT_NE(std::string(mine.networks[1].why.value().what()).find("absent.pth] is absent"), std::string::npos);
  const auto why = [](const std::string& name) { return refusal_by([&] { inspect(name); }); };
  EXPECT_NE(why("bad").find("[wan-infer/models.json] set 'bad' has 'hi_noise'"), std::string::npos) << why("bad");
  EXPECT_EQ(why("yours"),
            "[yours] is no folder, no file and no set of models.json; sets there are 'bad' and 'mine'; inspect takes a "
            "folder, a file or the name of a set");
  before ? setenv("XDG_CONFIG_HOME", kept.c_str(), 1) : unsetenv("XDG_CONFIG_HOME");
}

TEST(InspectSets, OneSaysWhatItLacks) {
  const TemporaryFolder folder;
  std::ofstream(folder / "sets.json") << R"({"sets": {"mine": {"high_noise": ")"
                                      << (kNano / "high_noise_model").string()
                                      << R"(", "vae": "absent.pth"}, "nano": {"model": ")" << kNano.string()
                                      << R"("}, "gone": {"vae": "a.pth", "high_noise": "b.pth"}}})";
  Request asked = request(Task::T2V, "mine");
  asked.models = folder / "sets.json";
  const Inspection mine = inspect("mine", asked.models);
  EXPECT_EQ(mine.kind, "part of a text-to-video model");
  ASSERT_EQ(mine.tasks.size(), 1u);
  const std::string text = to_text(mine, false);
  EXPECT_NE(text.find("would be refused: [mine] lacks the text encoder"), std::string::npos) << text;
  EXPECT_NE(text.find("absent.pth] must be the VAE, is not there; sets.json has it as vae of set mine"),
            std::string::npos)
      << text;
  EXPECT_EQ(inspect("nano", asked.models).kind, "text-to-video model");
  const auto run = [&](const char* set) {
    return Process("wan-infer", {"inspect", set, "--models", "sets.json"}, folder.path()).finish();
  };
  EXPECT_EQ(run("mine").code, 0);
  EXPECT_TRUE(run("nano").out.starts_with("nano: text-to-video model\n")) << run("nano").out << run("nano").err;
  const Outcome gone = run("gone");
  EXPECT_EQ(gone.code, 3) << "nothing that it names can be read";
  for (const char* file : {"a.pth] is absent", "b.pth] is absent"})
    EXPECT_NE(gone.err.find(file), std::string::npos) << gone.err;
}

TEST(InspectSets, AFolderThatIsAbsentIsRefusedAsARenderDoes) {
  const TemporaryFolder folder;
  const std::string vae = R"("vae": ")" + (kNano / "Wan2.1_VAE.pth").string() + "\"";
  const std::string expert = R"("high_noise": ")" + (kNano / "high_noise_model").string() + "\"";
  fs::path sets = write_set(folder, R"("task": "t2v", "model": "gone", )" + vae);
  Inspection found = inspect("mine", sets);
  EXPECT_EQ(found.kind, "part of a text-to-video model") << "not that of the VAE alone";
  expect_refusals(found, sets, {Task::T2V});
  EXPECT_EQ(found.tasks.at(0).refusals.at(0).text,
            "must be a folder, is not there; sets.json has it as model of set mine");
  EXPECT_EQ(to_json(found, false).at("tasks").at(0).at("whole"), false);

  sets = write_set(folder, R"("model": "gone", )" + expert);
  found = inspect("mine", sets);
  EXPECT_EQ(found.kind, "part of a text-to-video model");
  expect_refusals(found, sets, {Task::T2V});

  sets = write_set(folder, R"("model": "gone", )" + vae);
  found = inspect("mine", sets);
  EXPECT_EQ(found.kind, "part of a model") << "of any";
  expect_refusals(found, sets, {Task::T2V, Task::I2V, Task::S2V});
  const std::string text = to_text(found, false);
  EXPECT_NE(text.find("\nt2v, v2v, i2v and s2v would be refused: ["), std::string::npos) << text;
  EXPECT_EQ(text.find("would be refused"), text.rfind("would be refused")) << "once for all tasks\n" << text;

  sets = write_set(folder, R"("task": "t2v", "model": "gone")");
  const std::string nothing = refusal_by([&] { inspect("mine", sets); });
  EXPECT_NE(nothing.find("sets.json] set 'mine' must name checkpoints, names none that is there: the set's folder gone "
                         "is not there; "),
            std::string::npos)
      << nothing;
}

TEST(InspectSets, FilesThatAreAbsentAreRefusedAsARenderDoes) {
  const TemporaryFolder folder;
  const std::string vae = R"("vae": ")" + (kNano / "Wan2.1_VAE.pth").string() + "\"";
  const fs::path sets = write_set(folder, R"("high_noise": "gone.gguf", )" + vae);
  const Inspection found = inspect("mine", sets);
  EXPECT_EQ(found.kind, "part of a model");
  ASSERT_EQ(found.tasks.size(), 2u) << "t2v and i2v have that part";
  const std::string text = to_text(found, false);
  EXPECT_NE(text.find("t2v, v2v and i2v would be refused: ["), std::string::npos) << text;
  EXPECT_NE(text.find("gone.gguf] must be the high-noise expert, is not there; sets.json has it as high_noise of set "
                      "mine; --high-noise names another\n"),
            std::string::npos)
      << text;
}

TEST(InspectSets, OddNamesAndFilesAreShownPlainly) {
  const TemporaryFolder folder;
  std::ofstream(folder / "sets.json") << "{\"sets\": {\"a\\u001b[31m\": {\"tokenizer\": \"/dev/null\", \"vae\": \""
                                      << (kNano / "Wan2.1_VAE.pth").string() << R"("}}})";
  const Inspection found = inspect("a\x1b[31m", folder / "sets.json");
  ASSERT_EQ(found.files.size(), 1u);
  EXPECT_EQ(found.files[0].bytes, 0u) << "a device has no size";
  const std::string text = to_text(found, false);
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  EXPECT_NE(text.find("part vae, set a\\x1B[31m\n"), std::string::npos) << text;
}

TEST(InspectSets, ATokenizersFolderHasTheBytesOfItsFiles) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "t");
  std::ofstream(folder / "t/tokenizer.json") << std::string(30'000, ' ');
  std::ofstream(folder / "t/tokenizer_config.json") << std::string(20'000, ' ');
  std::ofstream(folder / "t/.hidden") << std::string(40'000, ' ');
  const Inspection found = inspect("mine", write_set(folder, R"("tokenizer": "t")"));
  ASSERT_EQ(found.files.size(), 1u);
  EXPECT_EQ(found.files[0].bytes, 50'000u);
}

TEST(InspectSets, SeveralCandidatesInItsFolderAreTold) {
  const TemporaryFolder folder;
  write_comfy(folder / "models");
  fs::copy(kNano / "Wan2.1_VAE.pth", folder / "models/vae/other_vae.pth");
  const std::string remark = "several could be vae (Wan 2.1 VAE): ";
  const auto remarks_of = [](const Inspection& found) {
    std::string all;
    for (const std::string& one : found.remarks) all += one + "\n";
    return all;
  };
  const Inspection open = inspect("mine", write_set(folder, R"("task": "t2v", "model": "models")"));
  EXPECT_EQ(open.kind, "text-to-video files, several that could be vae");
  EXPECT_NE(remarks_of(open).find(remark), std::string::npos) << remarks_of(open);
  const Inspection named =
      inspect("mine", write_set(folder, R"("task": "t2v", "model": "models", "vae": "models/vae/other_vae.pth")"));
  EXPECT_EQ(named.kind, "text-to-video model");
  EXPECT_EQ(remarks_of(named).find(remark), std::string::npos) << remarks_of(named);
}

}  // namespace
}  // namespace wan
