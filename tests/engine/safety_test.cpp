// Safety checkers at work: pictures as they take them, frames that are looked at, folders as people have them, blur.
#include "engine/frames/safety.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/frames/blur.h"
#include "engine/frames/safety_input.h"
#include "engine/media/resize.h"
#include "engine/residency/not_finite.h"
#include "models/weights/format/safetensors.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/safety_case.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using Numbers = std::vector<int64_t>;

constexpr safety::Preprocessing kPlain = {
    safety::Preprocessing::Filter::Bilinear, 0, 4, 1.0 / 255, {0, 0, 0}, {1, 1, 1}};

/// Gives the mean of a picture, from 0 to 1, as its score, and notes the pictures by their means times 255.
class Mean : public safety::Checker {
 public:
  explicit Mean(Numbers* seen = nullptr) : seen_(seen) {}
  const safety::Config& config() const override { return config_; }
  std::vector<safety::Finding> operator()(const at::Tensor& pixels) const override {
    const double mean = pixels.mean().item<double>();
    if (seen_) seen_->push_back(std::lround(mean * 255));
    return {{std::abs(mean - 1) < 1e-6 ? std::numeric_limits<double>::quiet_NaN() : mean}};
  }

 private:
  safety::Config config_ = safety::ClassifierConfig{{}, {"normal", "nsfw"}, 1};
  Numbers* seen_;
};

/// Frames of one grey each: [t, 8, 6, 3].
at::Tensor grey(const Numbers& values) {
  return at::tensor(values)
      .to(at::kByte)
      .view({int64_t(values.size()), 1, 1, 1})
      .expand({int64_t(values.size()), 8, 6, 3})
      .contiguous();
}

Numbers counted(int64_t frames) {
  Numbers all;
  for (int64_t i = 0; i < frames; ++i) all.push_back(i);
  return all;
}

TEST(SafetyInput, IsThatOfThePublishedProcessorsToTheBit) {
  for (const char* name : {"vit_small", "clip_small"}) {
    SafetyCase golden(golden_safety(name));
    const auto how = safety::Preprocessing::read(golden.folder / "preprocessor_config.json", golden.config);
    std::vector<at::Tensor> pixels, resized;
    for (const at::Tensor& picture : golden.pictures()) {
      pixels.push_back(safety_input(picture, how)[0]);
      resized.push_back(how.shortest_edge
                            ? resize_centre(picture, how.shortest_edge, how.size, how.size, Filter::Bicubic)
                            : resize_pillow(picture, how.size, how.size));
    }
    EXPECT_EQ(pixels.size(), 4u);
    golden.expect_equal("resized", at::stack(resized));
    golden.expect_equal("pixels", at::stack(pixels));
  }
}

// 20,000 to 1: what is computed between resizing and cropping stays small.
TEST(SafetyInput, LongThinPicturesAreCutBeforeTheyAreComputed) {
  const at::Tensor line = at::full({1, 20000, 3}, 9, at::kByte);
  EXPECT_EQ(
      max_abs_difference(resize_centre(line, 224, 224, 224, Filter::Bicubic), at::full({224, 224, 3}, 9, at::kByte)),
      0);
  EXPECT_THROW(resize_centre(line, 224, 225, 224, Filter::Bicubic), std::invalid_argument);
  EXPECT_THROW(safety_input(at::zeros({3, 4}, at::kByte), kPlain), std::invalid_argument);
}

TEST(SafetyStep, FramesAreSpreadOverTheClip) {
  EXPECT_EQ(spread_frames(81, 8), (Numbers{0, 11, 22, 34, 45, 57, 68, 80}));
  EXPECT_EQ(spread_frames(5, 8), (Numbers{0, 1, 2, 3, 4}));
  EXPECT_EQ(spread_frames(8, 8), counted(8));
  EXPECT_EQ(spread_frames(9, 1), (Numbers{4}));
  EXPECT_EQ(spread_frames(1, 8), (Numbers{0}));
  EXPECT_EQ(spread_frames(0, 8), (Numbers{}));
}

/// The numbers of the frames that a step looked at, of a stream of `frames` that it was told to be of `told`.
Numbers looked_at(int64_t frames, int64_t told, int64_t count) {
  const c10::InferenceMode inference;
  Numbers seen;
  const SafetyNetwork network(std::make_unique<Mean>(&seen), kPlain);
  SafetyCheck check(network);
  SafetyStep step(check, told, count);
  int64_t given = 0;
  FrameStream stream({&step}, [&](const Frames& some) {
    EXPECT_EQ(some.first, given);
    EXPECT_EQ(some.rgb[0][0][0][0].item<int64_t>(), given);
    given += some.rgb.size(0);
  });
  const at::Tensor all = grey(counted(frames));
  for (int64_t i = 0; i < frames; i += 4) stream.push(all.narrow(0, i, std::min<int64_t>(4, frames - i)));
  stream.end();
  EXPECT_EQ(given, frames) << "all frames are passed on";
  EXPECT_EQ(check.verdict().pictures, int64_t(seen.size()));
  return seen;
}

TEST(SafetyStep, LooksAtTheFirstTheLastAndThoseBetween) {
  EXPECT_EQ(looked_at(81, 81, 8), (Numbers{0, 11, 22, 34, 45, 57, 68, 80}));
  EXPECT_EQ(looked_at(5, 5, 8), counted(5));
  EXPECT_EQ(looked_at(9, 9, 1), (Numbers{4}));
  EXPECT_EQ(looked_at(1, 1, 8), (Numbers{0}));
  // Of a stream of another length than it was told, the last besides.
  EXPECT_EQ(looked_at(30, 81, 8), (Numbers{0, 11, 22, 29}));
  EXPECT_EQ(looked_at(23, 81, 8), (Numbers{0, 11, 22})) << "which was looked at";
  EXPECT_EQ(looked_at(20, 9, 3), (Numbers{0, 4, 8, 19}));
  EXPECT_EQ(looked_at(40, 9, 3), (Numbers{0, 4, 8, 20, 32, 39})) << "every twelfth behind the stated end";
  EXPECT_EQ(looked_at(3, 9, 1), (Numbers{2}));
  EXPECT_EQ(looked_at(0, 9, 3), (Numbers{}));
}

TEST(SafetyCheck, TheLargestScoreCounts) {
  const SafetyNetwork network(std::make_unique<Mean>(), kPlain);
  const auto of = [&](const Numbers& greys, std::optional<double> threshold = {}) {
    SafetyCheck check(network, threshold);
    for (size_t i = 0; i < greys.size(); ++i) check.look(grey(greys)[int64_t(i)], 10 + int64_t(i));
    return check.verdict();
  };
  const SafetyVerdict flagged = of({20, 204, 100});
  EXPECT_TRUE(flagged.flagged);
  EXPECT_NEAR(flagged.score, 0.8, 1e-6);
  EXPECT_EQ(flagged.threshold, 0.5);
  EXPECT_EQ(flagged.found, "nsfw");
  EXPECT_EQ(flagged.worst, 11);
  EXPECT_EQ(flagged.pictures, 3);
  const SafetyVerdict clean = of({20, 100});
  EXPECT_FALSE(clean.flagged);
  EXPECT_EQ(clean.found, "");
  EXPECT_EQ(clean.worst, 11);
  EXPECT_FALSE(of({20, 204, 100}, 0.9).flagged);
  EXPECT_TRUE(of({51}, 0.1).flagged);
  EXPECT_EQ(of({}).pictures, 0);
  EXPECT_FALSE(of({}).flagged);
}

TEST(SafetyCheck, WhatIsNoNumberIsNoVerdict) {
  const SafetyNetwork network(std::make_unique<Mean>(), kPlain);
  SafetyCheck check(network);
  try {
    check.look(grey({255})[0], 7);
    FAIL() << "NaN was taken";
  } catch (const NotFinite& error) {
    EXPECT_EQ(std::string(error.what()),
              "[safety checker] gave NaN or Inf for picture 7; its weights may be damaged: download them again");
  }
}

TEST(Blur, LeavesColoursAndNoThings) {
  at::Tensor frames = at::zeros({2, 120, 160, 3}, at::kByte);
  frames[0].narrow(1, 0, 80).fill_(200);     // a half
  frames[1].slice(0, 0, 120, 2).fill_(255);  // lines
  const at::Tensor soft = blurred(frames);
  EXPECT_EQ(soft.sizes(), frames.sizes());
  EXPECT_EQ(soft.scalar_type(), at::kByte);
  EXPECT_EQ(soft[0][60][5][1].item<int64_t>(), 200) << "far from the edge";
  EXPECT_EQ(soft[0][60][155][1].item<int64_t>(), 0);
  const at::Tensor edge = soft[0][60].select(1, 0).to(at::kLong);
  EXPECT_LT((edge.slice(0, 1) - edge.slice(0, 0, 159)).abs().max().item<int64_t>(), 25) << "no hard edge is left";
  EXPECT_LT(soft[1].to(at::kDouble).std().item<double>(), 3) << "lines become grey";
  at::Tensor thin = at::zeros({1, 1, 300, 3}, at::kByte), tiny = at::zeros({1, 8, 8, 3}, at::kByte);
  thin.slice(2, 0, 300, 2).fill_(255);
  tiny.slice(2, 0, 8, 2).fill_(255);
  EXPECT_LT(blurred(thin).to(at::kDouble).std().item<double>(), 30);
  EXPECT_LT(blurred(tiny).to(at::kDouble).std().item<double>(), 30);
  BlurStep step;
  step.take({frames, 5, {24, 1}}, [&](const Frames& given) {
    EXPECT_EQ(given.first, 5);
    EXPECT_EQ(given.rate, (Rational{24, 1}));
    EXPECT_TRUE(at::equal(given.rgb, soft));
  });
}

/// A copy of a golden checker.
class SafetyFolder : public testing::Test {
 protected:
  fs::path copy(const std::string& name) {
    fs::remove_all(folder_ / "checker");
    fs::copy(golden_safety(name), folder_ / "checker");
    for (const char* file : {"case.json", "case.safetensors"}) fs::remove(folder_ / "checker" / file);
    return folder_ / "checker";
  }
  std::string refusal(const fs::path& place) {
    return refusal_by([&] { SafetyNetwork(find_safety_checker(place), Placement()); });
  }
  static bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

  TemporaryFolder folder_;
};

TEST_F(SafetyFolder, SaysOfPicturesWhatThePublishedCheckerDoes) {
  const c10::InferenceMode inference;
  for (const char* name : {"vit_small", "clip_small"}) {
    SafetyCase golden(golden_safety(name));
    const SafetyNetwork network(find_safety_checker(copy(name)), Placement());
    const bool concepts = golden.file.tensors().contains("concepts");
    const at::Tensor scores = concepts ? golden.file.map("concepts").amax(1) / 1000.0 : golden.file.map("score");
    const std::vector<at::Tensor> pictures = golden.pictures();
    int64_t flagged = 0;
    for (size_t i = 0; i < pictures.size(); ++i) {
      SafetyCheck check(network);
      check.look(pictures[i], 0);
      EXPECT_NEAR(check.verdict().score, scores[int64_t(i)].item<double>(), 1e-6);
      EXPECT_EQ(check.verdict().flagged, scores[int64_t(i)].item<double>() > (concepts ? 0 : 0.5));
      flagged += check.verdict().flagged;
    }
    EXPECT_GT(flagged, 0) << name;
    EXPECT_LT(flagged, 4) << name;
  }
}

TEST_F(SafetyFolder, OfAWholeModelIsFoundInIt) {
  const fs::path model = folder_ / "sd";
  fs::create_directories(model / "feature_extractor");
  fs::rename(copy("clip_small"), model / "safety_checker");
  fs::rename(model / "safety_checker/preprocessor_config.json", model / "feature_extractor/preprocessor_config.json");
  for (const fs::path& place : {model, model / "safety_checker", model / "safety_checker/"}) {
    const SafetyFiles files = find_safety_checker(place);
    EXPECT_EQ(files.config, model / "safety_checker/config.json");
    EXPECT_TRUE(fs::equivalent(files.preprocessor, model / "feature_extractor/preprocessor_config.json"));
    EXPECT_EQ(refusal(place), "");
  }
  fs::remove_all(model / "feature_extractor");
  EXPECT_EQ(refusal(model),
            "[sd/safety_checker] must hold preprocessor_config.json, which tells how pictures are resized, holds none; "
            "of Stable "
            "Diffusion it lies in the folder feature_extractor beside");
}

TEST_F(SafetyFolder, IsRefusedInOneLine) {
  const std::string published =
      "; a safety checker is published as Falconsai/nsfw_image_detection (343 MB) and as "
      "CompVis/stable-diffusion-safety-checker (1.2 GB), each with config.json and preprocessor_config.json";
  EXPECT_TRUE(has(refusal(folder_ / "absent"), "must be the folder of a safety checker, is not there" + published));
  fs::path at = copy("vit_small");
  EXPECT_TRUE(has(refusal(at / "model.safetensors"), "must be the folder of a safety checker, is a file"));
  fs::remove(at / "config.json");
  EXPECT_TRUE(
      has(refusal(at), "must hold config.json, which tells which safety checker it is, holds none" + published));
  at = copy("vit_small");
  fs::remove(at / "preprocessor_config.json");
  std::ofstream(at / "config.json") << "{";
  EXPECT_TRUE(has(refusal(at), "config.json] ")) << refusal(at);
  EXPECT_FALSE(has(refusal(at), "preprocessor_config.json")) << refusal(at);
  at = copy("vit_small");
  fs::remove(at / "model.safetensors");
  EXPECT_TRUE(has(refusal(at), "must hold model.safetensors or pytorch_model.bin, holds neither" + published));
  at = copy("vit_small");
  fs::resize_file(at / "model.safetensors", 100'000);
  EXPECT_TRUE(has(refusal(at), "model.safetensors] ")) << refusal(at);
  at = copy("clip_small");
  fs::resize_file(at / "pytorch_model.bin", 100'000);
  EXPECT_TRUE(has(refusal(at), "pytorch_model.bin] ")) << refusal(at);
  at = copy("clip_small");
  fs::copy_file(golden_safety("vit_small") / "config.json", at / "config.json", fs::copy_options::overwrite_existing);
  EXPECT_NE(refusal(at), "");
}

TEST_F(SafetyFolder, WeightsThatAreNoNumbersAreNamed) {
  const fs::path at = copy("vit_small");
  std::map<std::string, at::Tensor> tensors;
  {
    const Checkpoint file = Checkpoint::open(at / "model.safetensors");
    for (const auto& entry : file.tensors()) tensors[entry.first] = file.map(entry.first).clone();
  }
  tensors["vit.encoder.layer.1.output.dense.weight"][3][7] = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(at / "model.safetensors", tensors);
  EXPECT_TRUE(has(refusal(at),
                  "vit.encoder.layer.1.output.dense.weight] must be finite, has NaN or Inf: the file is "
                  "damaged; download it again"))
      << refusal(at);
}

TEST_F(SafetyFolder, TakesOfTheBudgetWhatItSays) {
  Placement placement;
  placement.budget = std::make_shared<DeviceBudget>(1 << 20);
  const SafetyFiles files = find_safety_checker(copy("vit_small"));
  const SafetyNeeds needs = safety_needs(files, placement);
  EXPECT_GT(needs.activations, 0u);
  {
    const SafetyNetwork network(files, placement);
    EXPECT_EQ(placement.budget->used(), needs.weights + needs.activations);
  }
  EXPECT_EQ(placement.budget->used(), 0u);
  placement.budget = std::make_shared<DeviceBudget>(1 << 10);
  EXPECT_THROW(SafetyNetwork(files, placement), c10::OutOfMemoryError);
}

}  // namespace
}  // namespace wan
