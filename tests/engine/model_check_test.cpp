// A model folder as people have it is found whole or not before anything is loaded.
#include "engine/residency/model_check.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/residency/planned_network.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/parts.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints";
const fs::path kNano = fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano";

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A copy of a model that a test may damage.
struct Copy {
  explicit Copy(const fs::path& model, Task task = Task::T2V) : task(task) {
    fs::copy(model, folder / "m", fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator(folder / "m"))
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
  }
  fs::path operator/(const std::string& name) const { return folder / "m" / name; }
  std::string refusal() const {
    try {
      check_model(parts_of(folder / "m", task));
    } catch (const ModelError& error) {
      return error.what();
    }
    return "accepted";
  }
  TemporaryFolder folder;
  Task task;
};

void expect_refused(const Copy& copy, const std::string& words) {
  const std::string why = copy.refusal();
  EXPECT_NE(why.find(words), std::string::npos) << why;
}

std::vector<std::string> names_of(const ModelParts& parts) {
  std::vector<std::string> names;
  for (const PartFile& file : parts.files()) names.push_back(file.name);
  return names;
}

void cut_in_half(const fs::path& path) {
  fs::resize_file(path, fs::file_size(path) / 2);
}

std::string shard(const std::string& expert, int number) {
  return expert + "/diffusion_pytorch_model-0000" + std::to_string(number) + "-of-00002.safetensors";
}

TEST(ModelCheck, WholeModelsPass) {
  EXPECT_EQ(Copy(kNano).refusal(), "accepted");
  EXPECT_EQ(Copy(kGolden / "Wan2.2-T2V-A14B").refusal(), "accepted");
  EXPECT_EQ(Copy(kGolden / "Wan2.2-I2V-A14B", Task::I2V).refusal(), "accepted");
  EXPECT_EQ(Copy(kGolden / "Wan2.2-S2V-14B", Task::S2V).refusal(), "accepted");
}

TEST(ModelCheck, FilesThatDoNotCountDoNotMatter) {
  const Copy copy(kNano);
  const auto files = names_of(parts_of(copy / "", Task::T2V));
  for (const char* folder : {"", "high_noise_model", "low_noise_model", "google/umt5-xxl"})
    for (const char* name : {"._diffusion_pytorch_model-00001-of-00002.safetensors", "._config.json", ".DS_Store",
                             "model.safetensors.incomplete", "Wan2.1_VAE.pth.part", "lost+found/x.safetensors",
                             ".cache/huggingface/download/x.safetensors.lock", "thumbs.db", "lora.safetensors"})
      write(copy / folder / name, std::string("\0\5\26\7\0\2\0\0Mac OS X", 16));
  EXPECT_EQ(copy.refusal(), "accepted");
  const ModelParts folder = parts_of(copy / "", Task::T2V);
  EXPECT_EQ(names_of(folder), files);
  EXPECT_EQ(identities(folder).size(), files.size());
}

TEST(ModelCheck, ADownloadCacheOfLinksPasses) {
  const TemporaryFolder cache;
  int blobs = 0;
  fs::create_directories(cache / "blobs");
  for (const auto& entry : fs::recursive_directory_iterator(kNano)) {
    if (!entry.is_regular_file()) continue;
    const fs::path link = cache / "snapshots/a1" / entry.path().lexically_relative(kNano);
    const fs::path blob = cache / "blobs" / std::to_string(++blobs);
    fs::copy_file(entry.path(), blob);
    fs::create_directories(link.parent_path());
    fs::create_symlink(blob.lexically_relative(link.parent_path()), link);
  }
  EXPECT_NO_THROW(check_model(parts_of(cache / "snapshots/a1", Task::T2V)));
  fs::remove(cache / "blobs/1");
  EXPECT_THROW(check_model(parts_of(cache / "snapshots/a1", Task::T2V)), ModelError);
}

TEST(ModelCheck, TheSecondExpertIsLookedAtToo) {
  const Copy copy(kNano);
  fs::remove(copy / shard("low_noise_model", 2));
  expect_refused(copy, "[low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors] is absent");
  write(copy / shard("low_noise_model", 2), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  expect_refused(copy, "is a Git LFS pointer, not the file itself; download it again, with git lfs pull");
  fs::copy_file(kNano / shard("low_noise_model", 2), copy / shard("low_noise_model", 2),
                fs::copy_options::overwrite_existing);
  cut_in_half(copy / shard("low_noise_model", 2));
  expect_refused(copy, "-00002-of-00002.safetensors] is cut short: ");
}

TEST(ModelCheck, EveryFileIsLookedAt) {
  const std::map<std::string, std::string> words = {
      {"models_t5_umt5-xxl-enc-bf16.pth", "is cut short"},
      {"Wan2.1_VAE.pth", "is cut short"},
      {"google/umt5-xxl/tokenizer.json", "its JSON breaks off"},
      {"high_noise_model/config.json", "its JSON breaks off"},
      {"low_noise_model/diffusion_pytorch_model.safetensors.index.json", "must be JSON, breaks"},
      {"config.json", "its JSON breaks off"},
      {"diffusion_pytorch_model-00003-of-00004.safetensors", "is cut short"},
      {"wav2vec2-large-xlsr-53-english/config.json", "its JSON breaks off"},
      {"wav2vec2-large-xlsr-53-english/model.safetensors", "is cut short"}};
  size_t tried = 0;
  for (const auto& [model, task] :
       std::map<fs::path, Task>{{kNano, Task::T2V}, {kGolden / "Wan2.2-S2V-14B", Task::S2V}}) {
    const Copy copy(model, task);
    for (const auto& [name, why] : words) {
      if (!fs::exists(model / name)) continue;
      cut_in_half(copy / name);
      expect_refused(copy, why);
      fs::copy_file(model / name, copy / name, fs::copy_options::overwrite_existing);
      ++tried;
    }
    EXPECT_EQ(copy.refusal(), "accepted");
  }
  EXPECT_GE(tried, 10u);
}

TEST(ModelCheck, AllProblemsAreToldAtOnce) {
  const Copy copy(kNano);
  fs::remove(copy / shard("low_noise_model", 2));
  cut_in_half(copy / "Wan2.1_VAE.pth");
  write(copy / "google/umt5-xxl/tokenizer.json", "<html>");
  const std::string why = copy.refusal();
  EXPECT_EQ(std::count(why.begin(), why.end(), '\n'), 2) << why;
  for (const char* words : {"low_noise_model", "Wan2.1_VAE.pth] is cut short", "tokenizer.json] is a web page"})
    EXPECT_NE(why.find(words), std::string::npos) << why;
}

TEST(ModelCheck, NetworksMustFitTheirConfigAndEachOther) {
  const Copy copy(kNano);
  std::ifstream in(kNano / "low_noise_model/config.json");
  nlohmann::json config = nlohmann::json::parse(in);
  config["num_layers"] = config.at("num_layers").get<int>() - 1;
  write(copy / "low_noise_model/config.json", config.dump());
  expect_refused(copy, "[low_noise_model/config.json] num_layers must be 6, as in the tensors of ");
  fs::copy_file(kNano / "low_noise_model/config.json", copy / "low_noise_model/config.json",
                fs::copy_options::overwrite_existing);
  const std::string encoder = "models_t5_umt5-xxl-enc-bf16.pth";
  fs::copy_file(kGolden / "Wan2.2-T2V-A14B" / encoder, copy / encoder, fs::copy_options::overwrite_existing);
  expect_refused(copy, "] takes text states of ");
  fs::copy_file(kNano / "Wan2.1_VAE.pth", copy / encoder, fs::copy_options::overwrite_existing);
  expect_refused(copy, "models_t5_umt5-xxl-enc-bf16.pth]");
}

TEST(ModelCheck, FurtherTensorsOfTheVaeAreNotedAndMissingOnesRefused) {
  const TemporaryFolder folder;
  const Checkpoint vae = Checkpoint::open(kNano / "Wan2.1_VAE.pth");
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : vae.tensors()) tensors[name] = vae.map(name).contiguous();
  tensors["further.weight"] = at::ones({2, 3});
  write_safetensors(folder / "vae.safetensors", tensors);
  Request asked;
  asked.task = Task::T2V;
  asked.model = kNano.string();
  asked.vae = folder / "vae.safetensors";
  const ModelParts parts = find_parts(asked);
  EXPECT_NO_THROW(check_model(parts));
  EXPECT_NO_THROW(planned_network(Network::Vae, parts, Placement{}, false));
  Notes notes;
  note_search(parts, notes);
  ASSERT_EQ(notes.list().size(), 1u);
  EXPECT_EQ(notes.list()[0].text,
            "vae.safetensors holds 1 tensor that the VAE does not have (further.weight): not used");
  tensors.erase("conv2.bias");
  write_safetensors(folder / "missing.safetensors", tensors);
  asked.vae = folder / "missing.safetensors";
  try {
    check_model(find_parts(asked));
    ADD_FAILURE() << "a tensor is missing";
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what()).find("has 1 missing (conv2.bias)"), std::string::npos) << error.what();
  }
}

TEST(ModelCheck, AnUnfinishedDownloadIsNotTakenForTheFile) {
  const Copy copy(kNano);
  write(copy / "Wan2.1_VAE.pth.aria2", "");
  expect_refused(copy, "Wan2.1_VAE.pth] must be whole, and .aria2 beside it");
  fs::remove(copy / "Wan2.1_VAE.pth.aria2");
  fs::rename(copy / "Wan2.1_VAE.pth", copy / "Wan2.1_VAE.pth.incomplete");
  expect_refused(copy, "a download is unfinished: Wan2.1_VAE.pth.incomplete; --vae FILE names it");
}

TEST(ModelCheck, WeightsOfZerosAreNoted) {
  const Copy copy(kNano);
  const fs::path path = copy / shard("low_noise_model", 2);
  const Checkpoint before = Checkpoint::open(copy / "low_noise_model");
  IdentityCache cache;
  const auto notes = [&] {
    Notes notes;
    note_zero_weights(identities(parts_of(copy / "", Task::T2V), cache), notes);
    return notes.list();
  };
  EXPECT_TRUE(notes().empty());
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const uint64_t size = fs::file_size(path);
  file.seekp(std::streamoff(size / 2)) << std::string(size - size / 2, '\0');  // as a download with a hole
  file.close();
  ASSERT_EQ(notes().size(), 1u);
  const Note note = notes()[0];
  EXPECT_EQ(note.subject, "model");
  EXPECT_TRUE(
      note.text.starts_with("low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors has only zeros in "))
      << note.text;
  EXPECT_NE(note.change.find("inspect --verify"), std::string::npos);
  EXPECT_EQ(notes(), notes()) << "the cache keeps it";
}

TEST(ModelCheck, AWeightThatIsPartlyZeroIsNone) {
  const TemporaryFolder folder;
  at::Tensor one = at::zeros({300, 400});  // 480,000 bytes
  one.index_put_({150}, at::ones({400}));
  one.index_put_({50}, at::ones({1}));
  write_safetensors(folder / "x.safetensors", {{"bias", at::zeros({5000})},
                                               {"full.weight", at::zeros({300, 400})},
                                               {"norm.weight", at::zeros({5000})},
                                               {"part.weight", one},
                                               {"small.weight", at::zeros({2, 3})}});
  IdentityCache cache;
  const auto zeros = identify({{folder / "x.safetensors", "x.safetensors", "", ""}}, cache).at(0).zeros;
  EXPECT_EQ(zeros, (std::vector<std::string>{"full.weight", "small.weight"}));
}

/// The tokenizer of a small model with as many pieces as the published one.
void write_full_tokenizer(const fs::path& path) {
  std::ifstream in(kNano / "google/umt5-xxl/tokenizer.json");
  nlohmann::json file = nlohmann::json::parse(in);
  nlohmann::json& vocabulary = file.at("model").at("vocab");
  for (size_t id = vocabulary.size(); id < 256'384; ++id)
    vocabulary.push_back({"\u2581piece" + std::to_string(id * 2'654'435'761 % 1'000'003), -10.5 - double(id) / 1e5});
  write(path, file.dump());
}

double peak_megabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

TEST(ModelCheck, OfFullSizeTakesLessThanASecond) {
  const TemporaryFolder folder;
  write_sparse_t2v_folder(folder.path());
  write_full_tokenizer(folder / "google/umt5-xxl/tokenizer.json");
  const ModelParts model = parts_of(folder.path(), Task::T2V);
  const double before = peak_megabytes();
  // Of the processor: other programs may run beside the test.
  const std::clock_t start = std::clock();
  check_model(model);
  const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
  std::cout << seconds << " s, " << peak_megabytes() - before << " MB\n";
  EXPECT_LT(seconds, 1);
  EXPECT_LT(peak_megabytes() - before, 200);
}

}  // namespace
}  // namespace wan
