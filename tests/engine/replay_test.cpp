// Whether a stored record's files are found again, and whether others are told from them.
#include "engine/job/replay.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "engine/base/error.h"
#include "engine/request/parse.h"
#include "models/files/digest.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"
#include "tests/parts.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// A copy of the tiny model and what a record says about it.
struct Scene {
  Scene() {
    fs::copy(fs::path(WAN_SOURCE_DIR) / "tests/nano/Wan2.2-T2V-A14B-nano", folder / "model",
             fs::copy_options::recursive);
    record.files = identities(model());
  }
  ModelParts model() const { return parts_of(folder / "model", Task::T2V); }
  fs::path at(const std::string& name) const { return folder / "model" / name; }

  std::vector<std::string> others() const {
    IdentityCache cache;
    std::vector<std::string> lines;
    for (const Difference& difference : other_files(record, model(), cache)) lines.push_back(difference.line());
    return lines;
  }

  TemporaryFolder folder;
  Record record;
};

using Lines = std::vector<std::string>;

std::string content_of(const FileIdentity& file) {
  return std::to_string(file.size) + " bytes with " + file.digest.substr(0, file.digest.find(':') + 13);
}

/// What the record says of a file, as the lines begin.
std::string recorded(const Scene& scene, const std::string& name) {
  for (const FileIdentity& file : scene.record.files)
    if (file.name == name) return "[" + name + "] must be as recorded, " + content_of(file) + ", ";
  return "no record of " + name;
}

/// What lies under a name now.
FileIdentity now(const Scene& scene, const std::string& name) {
  for (const FileIdentity& file : identities(scene.model()))
    if (file.name == name) return file;
  return {};
}

std::string digest_now(const Scene& scene, const std::string& name) {
  return now(scene, name).digest.substr(0, now(scene, name).digest.find(':') + 13);
}

const std::string kShard = "low_noise_model/diffusion_pytorch_model-00002-of-00002.safetensors";

void change(const fs::path& path, uint64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(std::streamoff(at)) << "?!?!";
}

TEST(Replay, TellsOneChangedTensor) {
  const Scene scene;
  EXPECT_EQ(scene.others(), Lines());
  const StoredTensors tensors = read_tensors(MappedFile::open(scene.at(kShard)));
  change(scene.at(kShard), tensors.begin()->second.offset);
  EXPECT_EQ(scene.others(),
            Lines{recorded(scene, kShard) + "has the same size and other weights: " + digest_now(scene, kShard)});
  EXPECT_TRUE(digest_now(scene, kShard).starts_with("samples:")) << digest_now(scene, kShard);
}

TEST(Replay, TellsSwappedExperts) {
  const Scene scene;
  fs::rename(scene.at("high_noise_model"), scene.at("aside"));
  fs::rename(scene.at("low_noise_model"), scene.at("high_noise_model"));
  fs::rename(scene.at("aside"), scene.at("low_noise_model"));
  const Lines others = scene.others();
  EXPECT_EQ(std::count_if(others.begin(), others.end(),
                          [](const auto& line) { return line.find(" other weights: samples:") != std::string::npos; }),
            4);
}

TEST(Replay, APartUnderAnotherNameIsTheSameFile) {
  const Scene scene;
  fs::rename(scene.at("Wan2.1_VAE.pth"), scene.at("renamed.pth"));
  EXPECT_EQ(scene.others(), Lines());
  change(scene.at("renamed.pth"), read_tensors(MappedFile::open(scene.at("renamed.pth"))).begin()->second.offset);
  EXPECT_EQ(scene.others(),
            Lines{recorded(scene, "Wan2.1_VAE.pth") + "is renamed.pth of " + content_of(now(scene, "renamed.pth"))});
  fs::rename(scene.at("high_noise_model"), scene.at("aside"));
  fs::rename(scene.at("low_noise_model"), scene.at("my_high_noise"));
  fs::rename(scene.at("aside"), scene.at("my_low_noise"));
  EXPECT_EQ(scene.others().size(), 1u + 2 * 4) << "two shards of each expert are absent and new";
}

TEST(Replay, TellsFilesThatAreGoneNewOrOfAnotherSize) {
  Scene scene;
  const std::string unknown = scene.record.files.back().name;
  scene.record.files.pop_back();
  std::ofstream(scene.at("high_noise_model/config.json"), std::ios::app) << " ";
  fs::remove(scene.at(kShard));
  std::ofstream(scene.at("low_noise_model/more.safetensors"))
      << std::string("\2\0\0\0\0\0\0\0{}", 10);  // a checkpoint of no tensors, which the index does not name
  const Lines others = scene.others();
  ASSERT_EQ(others.size(), 3u);
  const std::string config = "high_noise_model/config.json";
  EXPECT_EQ(others[0], recorded(scene, config) + "is " + content_of(now(scene, config)));
  EXPECT_EQ(others[1], recorded(scene, kShard) + "is absent");
  EXPECT_EQ(others[2],
            "[" + unknown + "] must not be there, as recorded, is there: " + content_of(now(scene, unknown)));
}

TEST(Replay, ComparesTheHeadersThatAnOlderRecordKnows) {
  Scene scene;
  EXPECT_FALSE(knows_headers_only(scene.record));
  for (FileIdentity& file : scene.record.files) file.digest = header_digest(scene.at(file.name));
  EXPECT_TRUE(knows_headers_only(scene.record));
  change(scene.at(kShard), fs::file_size(scene.at(kShard)) - 4);
  EXPECT_EQ(scene.others(), Lines()) << "it cannot know";
  change(scene.at("google/umt5-xxl/tokenizer.json"), 0);
  ASSERT_EQ(scene.others().size(), 1u);
  EXPECT_TRUE(scene.others()[0].starts_with(recorded(scene, "google/umt5-xxl/tokenizer.json") +
                                            "has the same size and other content: header:"))
      << scene.others()[0];
  scene.record.files = identities(scene.model());
  for (FileIdentity& file : scene.record.files) file.digest = "header:" + std::string(64, 'a');
  EXPECT_TRUE(scene.others().at(0).starts_with(recorded(scene, "Wan2.1_VAE.pth") +
                                               "has the same size and another header: header:"))
      << scene.others().at(0);
}

TEST(Replay, NamesTheFlagByWhichThePartCame) {
  Scene scene;
  const auto ways = [&](const Request& asked) {
    IdentityCache cache;
    std::set<std::string> ways;
    for (const Difference& difference : other_files(scene.record, find_parts(asked), cache))
      ways.insert(difference.way_out);
    return ways;
  };
  Request asked;
  asked.model = scene.folder / "model";
  change(scene.at("Wan2.1_VAE.pth"), read_tensors(MappedFile::open(scene.at("Wan2.1_VAE.pth"))).begin()->second.offset);
  EXPECT_EQ(ways(asked), std::set<std::string>{"--model DIR names another folder"});
  asked.vae = scene.at("Wan2.1_VAE.pth");
  EXPECT_EQ(ways(asked), std::set<std::string>{"--vae FILE names another"});
  asked.vae.clear();
  asked.tokenizer = scene.at("google/umt5-xxl/tokenizer.json");
  change(asked.tokenizer, 0);
  EXPECT_EQ(ways(asked), (std::set<std::string>{"--model DIR names another folder", "--tokenizer FILE names another"}));
}

TEST(Replay, ManyFilesOfAPartAreOneLine) {
  const std::string way = "--model DIR names another folder";
  const auto of = [&](const std::string& name, const std::string& part) {
    return Difference{name, "is absent", way, part};
  };
  const std::vector<Difference> told = few_of_each_part({of("a", "low_noise"), of("v", "vae"), of("b", "low_noise"),
                                                         of("c", "low_noise"), of("w", "vae"), of("old", "")});
  Lines lines;
  for (const Difference& difference : told) lines.push_back(difference.line());
  EXPECT_EQ(lines, (Lines{"[a] is absent, and 2 more files of low_noise differ", "[v] is absent", "[w] is absent",
                          "[old] is absent"}));
}

Request with_images(const std::string& first, const std::string& last) {
  Request request;
  request.task = Task::I2V;
  request.image_url = first;
  request.last_image_url = last;
  return request;
}

TEST(Replay, IdentifiesInputsByTheirContent) {
  const TemporaryFolder folder;
  std::ofstream(folder / "face.png") << "abc";
  std::ofstream(folder / "copy") << "abcd";
  const std::string face = folder / "face.png", url = "http://anna:secret@host/x.png?y";
  const InputIdentities found = identify_inputs(with_images(face, url), {{"last_image_url", folder / "copy"}});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found.at("image_url").name, "face.png");
  EXPECT_EQ(found.at("image_url").size, 3u);
  EXPECT_EQ(found.at("image_url").sha256, sha256({"abc"}));
  EXPECT_EQ(found.at("last_image_url").name, "http://host/x.png");
  EXPECT_EQ(found.at("last_image_url").sha256, sha256({"abcd"}));
  EXPECT_EQ(identify_inputs(with_images(face, url)).count("last_image_url"), 0u) << "its bytes are not here";
  EXPECT_EQ(identify_inputs(with_images(url, ""), with_images(face, "")).at("image_url").sha256, sha256({"abc"}));
  try {
    identify_inputs(with_images(folder / "absent.png", ""));
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(invalid.what(), "[image_url] cannot be read: 'absent.png': No such file or directory");
  }
}

TEST(Replay, TellsOtherInputs) {
  Record record;
  record.request = with_images("face.png", "");
  record.inputs = {{"image_url", {"face.png", 3, "abc"}}};
  const auto lines = [&](const InputIdentities& here) {
    Lines lines;
    for (const Difference& difference : other_inputs(record, here))
      lines.push_back(difference.line() + "; " + difference.way_out);
    return lines;
  };
  EXPECT_EQ(lines({{"image_url", {"other.png", 3, "abc"}}}), Lines()) << "a name is no content";
  EXPECT_EQ(
      lines({{"image_url", {"face.png", 3, "abd"}}}),
      Lines{"[image_url] must be as recorded, 'face.png' of 3 bytes with sha256:abc, is 'face.png' of 3 bytes with "
            "sha256:abd; --image FILE names another"});
  EXPECT_EQ(
      lines({{"image_url", {"face.png", 4, "abd"}}}),
      Lines{"[image_url] must be as recorded, 'face.png' of 3 bytes with sha256:abc, is 'face.png' of 4 bytes with "
            "sha256:abd; --image FILE names another"});
  EXPECT_EQ(lines({{"image_url", {"face.png", 3, "abc"}}, {"last_image_url", {"end.png", 1, "x"}}}),
            Lines{"[last_image_url] must be left out, as recorded, is 'end.png'; leave it out"});
  record.inputs.clear();
  EXPECT_EQ(lines({{"image_url", {"face.png", 4, "abd"}}}), Lines()) << "an older record";
}

TEST(Replay, FindsTheNamedFilesBesideTheVideoThenHere) {
  const TemporaryFolder folder, here;
  const fs::path before = fs::current_path();
  fs::current_path(here.path());
  std::ofstream(folder / "face.png") << "abc";
  std::ofstream(here / "face.png") << "abc";
  std::ofstream(here / "end.png") << "abc";
  fs::create_directory(here / "Wan");
  Request request = with_images("face.png", "end.png");
  request.model = "Wan";
  const auto fields = find_named(request, {{"prompt", "x"}}, folder.path(), Named::ModelAndInputs);
  EXPECT_EQ(fields.at("image_url"), (folder / "face.png").string());
  EXPECT_EQ(fields.at("last_image_url"), "end.png");
  EXPECT_EQ(fields.at("model"), "Wan");

  request = with_images("absent.png", "data:," + std::string(64, 'a'));
  request.model = "Wan2.2";
  try {
    find_named(request, nlohmann::json::object(), folder.path(), Named::ModelAndInputs);
    ADD_FAILURE();
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(invalid.what(),
                 "[image_url] must be 'absent.png' as recorded, and none is beside the file with the record or in the "
                 "current folder; --image FILE gives it\n"
                 "[last_image_url] was a data URL, which is not kept; --last-image FILE gives it\n"
                 "[model] must be 'Wan2.2' as recorded, and none is beside the file with the record or in the current "
                 "folder; --model DIR gives it");
  }
  const nlohmann::json given = {{"image_url", "x"}, {"last_image_url", "y"}, {"model", "z"}};
  EXPECT_NO_THROW(find_named(request, given, folder.path(), Named::ModelAndInputs));
  EXPECT_NO_THROW(find_named(request, {{"model", "z"}}, folder.path(), Named::Model));
  EXPECT_NO_THROW(find_named(with_images("http://host/x.png", ""), given, "", Named::ModelAndInputs));
  fs::current_path(before);
}

TEST(Replay, AnotherInterpolatorDrawsInItsOwnWay) {
  Request request;
  request.interpolator_model = "rife";
  request.interpolator = "flownet.pkl";
  request.interpolation_times = "direct";
  const auto fields = [&](const nlohmann::json& given) { return find_named(request, given, "", Named::Model); };
  const nlohmann::json film = fields({{"interpolator_model", "film"}}), none = fields({{"interpolator_model", "none"}});
  for (const nlohmann::json& other : {film, none}) {
    EXPECT_FALSE(other.contains("interpolator")) << other;
    EXPECT_FALSE(other.contains("interpolation_times")) << other;
  }
  const nlohmann::json same = fields({{"interpolator_model", "rife"}, {"interpolator", "other.pkl"}});
  EXPECT_EQ(same.value("interpolation_times", ""), "direct");
}

}  // namespace
}  // namespace wan
