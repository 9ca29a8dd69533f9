// RIFE: which version a file is, what is refused, frames of odd sizes, and that computing by rows changes nothing. Its
// numbers are tested by parity.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "kernels/convolution/winograd.h"
#include "models/files/error.h"
#include "models/rife/layers.h"
#include "models/rife/model.h"
#include "models/rife/needs.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tools/bench/counted_memory.h"

namespace wan::rife {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

/// What tells releases apart, as their model files have it.
struct Form {
  std::vector<int64_t> widths = {192, 128, 96, 64};
  int64_t features = 0, head_width = 0, outputs = 24, carried = 0;
  enum { Prelu, Leaky, Residual } body = Residual;
  enum { Two, Seven, Named } head = Named;
  int64_t groups = 1;
};

void add_layer(Shapes& shapes, const std::string& name, const std::vector<int64_t>& weight, int64_t bias) {
  shapes[name + ".weight"] = weight, shapes[name + ".bias"] = {bias};
}

Shapes shapes_of(const Form& form) {
  Shapes shapes;
  for (size_t i = 0; i < form.widths.size(); ++i) {
    const int64_t width = form.widths[i], in = 7 + 2 * form.features + (i > 0 ? 5 + form.carried : 0);
    const std::string block = "block" + std::to_string(i) + ".";
    const auto slopes = [&](const std::string& name, int64_t count) {
      if (form.body == Form::Prelu) shapes[name + ".1.weight"] = {count};
    };
    add_layer(shapes, block + "conv0.0.0", {width / 2, in, 3, 3}, width / 2), slopes(block + "conv0.0", width / 2);
    add_layer(shapes, block + "conv0.1.0", {width, width / 2, 3, 3}, width), slopes(block + "conv0.1", width);
    for (int64_t j = 0; j < 8; ++j) {
      const std::string layer = block + "convblock." + std::to_string(j);
      add_layer(shapes, layer + (form.body == Form::Residual ? ".conv" : ".0"), {width, width / form.groups, 3, 3},
                width);
      slopes(layer, width);
      if (form.body == Form::Residual) shapes[layer + ".beta"] = {1, width, 1, 1};
    }
    add_layer(shapes, block + (form.outputs == 5 ? "lastconv" : "lastconv.0"), {width, form.outputs, 4, 4},
              form.outputs);
  }
  if (form.features == 0) return shapes;
  const int64_t head = form.head_width;
  const std::vector<const char*> names = form.head == Form::Named   ? std::vector{"cnn0", "cnn1", "cnn2", "cnn3"}
                                         : form.head == Form::Seven ? std::vector{"0", "2", "4", "6"}
                                                                    : std::vector{"0", "1"};
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string name = std::string("encode.") + names[i];
    if (i + 1 == names.size())
      add_layer(shapes, name, {head, form.features, 4, 4}, form.features);
    else
      add_layer(shapes, name, {head, i == 0 ? 3 : head, 3, 3}, head);
  }
  return shapes;
}

const Form k40 = {.outputs = 5, .body = Form::Prelu}, k46 = {},
           k47 = {.features = 4, .head_width = 16, .head = Form::Two}, k413 = {.features = 8, .head_width = 32},
           k425 = {.widths = {192, 128, 96, 64, 32}, .features = 4, .head_width = 16, .outputs = 52, .carried = 8};

Form changed(Form form, auto change) {
  change(form);
  return form;
}

StoredTensors stored(const Shapes& shapes, const std::string& before = "") {
  StoredTensors tensors;
  for (const auto& [name, shape] : shapes)
    tensors[before + name] = {at::kFloat, shape, row_major_strides(shape), nullptr, 0};
  return tensors;
}

std::string refusal_of(const StoredTensors& tensors) {
  try {
    version_of(tensors, "flownet.pkl");
  } catch (const ModelError& error) {
    return error.what();
  }
  return "";
}

at::Tensor draw(at::IntArrayRef shape, Role) {
  int64_t inputs = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) inputs *= shape[axis];
  return at::randn(shape).div_(std::sqrt(double(inputs)));
}

/// A network of an eighth of the published widths with random weights.
Model tiny(Version version, const Options& options = {}) {
  at::manual_seed(3);
  Weights weights(draw);
  const bool five = version == Version::V4_25;
  return Model(weights.root(),
               {version, five ? std::vector<int64_t>{24, 16, 12, 8, 4} : std::vector<int64_t>{24, 16, 12, 8}, 4},
               options);
}

const Version kVersions[] = {Version::V4_0, Version::V4_6, Version::V4_7, Version::V4_13, Version::V4_25};

/// A smooth picture.
at::Tensor picture(int64_t height, int64_t width, double shift, at::ScalarType dtype = at::kFloat) {
  const at::Tensor x = at::arange(width, at::kDouble).add(shift).div(7), y = at::arange(height, at::kDouble).div(5);
  const at::Tensor wave = x.sin().unsqueeze(0) * y.cos().unsqueeze(1);
  return at::stack({wave, wave.roll(3, 1), -wave}).mul(0.4).add(0.5).unsqueeze(0).to(dtype);
}

TEST(Rife, TellsWhichVersionAFileIs) {
  const std::pair<Form, Version> cases[] = {{k40, Version::V4_0},
                                            {k46, Version::V4_6},
                                            {k47, Version::V4_7},
                                            {k413, Version::V4_13},
                                            {changed(k413,
                                                     [](Form& form) {
                                                       form.widths = {384, 192, 96, 48};
                                                     }),
                                             Version::V4_13},
                                            {k425, Version::V4_25}};
  for (const auto& [form, version] : cases) {
    for (const char* before : {"", "module."}) {
      SCOPED_TRACE(releases(version) + " " + before);
      StoredTensors tensors = stored(shapes_of(form), before);
      for (const char* other : {"teacher.conv0.0.0.weight", "block_tea.conv0.0.0.weight", "caltime.0.weight"})
        tensors[std::string(before) + other] = {at::kFloat, {1}, {1}, nullptr, 0};
      EXPECT_EQ(version_of(tensors, "here"), version);
      Weights weights(Checkpoint::names_only(tensors, "here"));
      const Model model(weights);
      EXPECT_EQ(model.version(), version);
      EXPECT_EQ(model.architecture().widths, form.widths);
      EXPECT_NO_THROW(weights.finish());
    }
  }
}

TEST(Rife, OfAFileOfSeveralProcessesOnlyItsNamesCount) {
  StoredTensors tensors = stored(shapes_of(k46), "module.");
  tensors["block0.conv0.0.0.weight"] = {at::kFloat, {1}, {1}, nullptr, 0};
  Weights weights(Checkpoint::names_only(tensors, "here"));
  EXPECT_EQ(Model(weights).version(), Version::V4_6);
  EXPECT_NO_THROW(weights.finish());
}

TEST(Rife, RefusesOtherVersionsByName) {
  const auto lite = [](Form& form) { form.widths = {128, 96, 64, 48}, form.features = 4; };
  const std::pair<Form, const char*> cases[] = {
      {{.outputs = 5, .body = Form::Leaky}, "is RIFE 4.2, 4.3 or 4.4"},
      {{.outputs = 20}, "is RIFE 4.5"},
      {{.features = 8, .head_width = 32, .head = Form::Seven}, "is RIFE 4.10, 4.11 or 4.12"},
      {changed({.head_width = 32, .head = Form::Seven}, lite), "is RIFE 4.12.lite or 4.13.lite"},
      {changed(k413, [](Form& form) { form.groups = 2; }), "is RIFE 4.14.lite"},
      {changed({.head_width = 16}, lite), "is RIFE 4.15.lite, 4.16.lite or 4.17.lite"},
      {{.widths = {256, 192, 96, 48}, .features = 8, .head_width = 32, .outputs = 52, .carried = 8},
       "is RIFE 4.21, 4.22 or 4.23"},
      {{.widths = {192, 128, 64, 32}, .features = 4, .head_width = 16, .outputs = 52, .carried = 8},
       "is RIFE 4.22.lite"},
      {changed(k425, [](Form& form) { form.widths[4] = 24; }), "is RIFE 4.25.lite"},
      {changed(k425,
               [](Form& form) {
                 form.widths = {384, 256, 192, 128, 64};
               }),
       "is RIFE 4.25.heavy"},
      {changed(k425, [](Form& form) { form.features = 16; }), "is RIFE 4.26.heavy"},
      {changed(k46, [](Form& form) { form.widths[3] = 63; }),
       "is one that is not known: blocks of widths 192, 128, 96, 63"}};
  for (const auto& [form, part] : cases) {
    const std::string refusal = refusal_of(stored(shapes_of(form)));
    EXPECT_NE(refusal.find(part), std::string::npos) << refusal;
    EXPECT_NE(refusal.find("4.0 or 4.1; 4.6; 4.7, 4.8 or 4.9; 4.13 to 4.19, or 4.24; 4.20; 4.25 or 4.26"),
              std::string::npos)
        << refusal;
  }
  EXPECT_NE(refusal_of({}).find("must be a RIFE, with a tensor block0.conv0.0.0.weight, has none"), std::string::npos);
}

TEST(Rife, RefusesAFileThatLacksATensor) {
  StoredTensors tensors = stored(shapes_of(k425));
  tensors.erase("block3.convblock.5.beta");
  tensors["block2.lastconv.0.bias"].shape = {51};
  Weights weights(Checkpoint::names_only(tensors, "here"));
  const Model model(weights);
  try {
    weights.finish();
    FAIL();
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what()).find("block3.convblock.5.beta"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("block2.lastconv.0.bias"), std::string::npos) << error.what();
  }
}

TEST(Rife, ByRowsAndOnWholePicturesIsTheSame) {
  const c10::InferenceMode inference;
  for (const Version version : kVersions) {
    for (const double scale : {1.0, 0.5}) {
      SCOPED_TRACE(releases(version) + ", scale " + std::to_string(scale));
      const Options rows{.dtype = at::kDouble, .scale = scale},
          whole{.dtype = at::kDouble, .scale = scale, .by_rows = false};
      const at::Tensor first = picture(97, 140, 0, at::kDouble), second = picture(97, 140, 4, at::kDouble);
      std::vector<at::Tensor> got;
      for (const Options& options : {rows, whole}) {
        const Model model = tiny(version, options);
        got.push_back(model.between(model.frame(first), model.frame(second), 0.3));
      }
      // Float64: other order of sums, and coordinates that grid_sample rounds.
      EXPECT_TRUE(is_close(got[0], got[1], 1e-11));
      EXPECT_GT(max_abs_difference(got[0], first), 0.01);
      EXPECT_GT(max_abs_difference(got[0], second), 0.01);
    }
  }
}

TEST(Rife, TakesSizesThatItMustPad) {
  const c10::InferenceMode inference;
  for (const Version version : kVersions) {
    SCOPED_TRACE(releases(version));
    const Model model = tiny(version);
    const std::vector<std::pair<int64_t, int64_t>> sizes = {{17, 17}, {2, 130}, {128, 2}};
    for (const auto& [height, width] : sizes) {
      const at::Tensor first = picture(height, width, 0), second = picture(height, width, 2);
      const at::Tensor small = model.between(model.frame(first), model.frame(second), 0.5);
      EXPECT_EQ(small.sizes(), first.sizes());
      // Zeros on the right and below are what the frame is padded with.
      const auto padded = [&](const at::Tensor& frame) {
        return at::constant_pad_nd(frame,
                                   {0, (width + 127) / 128 * 128 - width, 0, (height + 127) / 128 * 128 - height});
      };
      const at::Tensor large = model.between(model.frame(padded(first)), model.frame(padded(second)), 0.5);
      EXPECT_TRUE(at::equal(small, large.narrow(2, 0, height).narrow(3, 0, width)));
    }
  }
  EXPECT_EQ(tiny(Version::V4_6, {.scale = 0.5}).frame(picture(17, 300, 0)).rgb.sizes(),
            at::IntArrayRef({1, 3, 256, 512}));
}

TEST(Rife, RefusesOtherFramesTimesAndScales) {
  const Model model = tiny(Version::V4_6);
  EXPECT_THROW(model.frame(at::rand({1, 3, 17, 1})), c10::Error);
  EXPECT_THROW(model.frame(at::rand({1, 3, 1, 17})), c10::Error);
  EXPECT_THROW(model.frame(at::rand({1, 4, 17, 17})), c10::Error);
  EXPECT_THROW(model.frame(at::rand({2, 3, 17, 17})), c10::Error);
  EXPECT_THROW(model.frame(at::rand({1, 3, 17, 17}, at::kDouble)), c10::Error);
  const Frame frame = model.frame(at::rand({1, 3, 17, 17})), other = model.frame(at::rand({1, 3, 17, 18}));
  EXPECT_THROW(model.between(frame, other, 0.5), c10::Error);
  for (const double time : {0.0, 1.0, -0.5, std::nan("")}) EXPECT_THROW(model.between(frame, frame, time), c10::Error);
  for (const double scale : {2.0, 0.3, 0.0, std::nan("")})
    EXPECT_THROW(tiny(Version::V4_6, {.scale = scale}), c10::Error);
}

TEST(Rife, TimesGiveOtherPictures) {
  const c10::InferenceMode inference;
  for (const Version version : kVersions) {
    const Model model = tiny(version);
    const Frame first = model.frame(picture(40, 60, 0)), second = model.frame(picture(40, 60, 3));
    const at::Tensor early = model.between(first, second, 0.25), middle = model.between(first, second, 0.5),
                     late = model.between(first, second, 0.75);
    EXPECT_TRUE(at::equal(model.between(first, second, 0.25), early)) << "the frames were changed";
    EXPECT_FALSE(at::equal(early, middle));
    EXPECT_FALSE(at::equal(middle, late));
    for (const at::Tensor& each : {early, middle, late})
      EXPECT_TRUE(each.ge(0).logical_and(each.le(1)).all().item<bool>());
  }
}

TEST(Rife, NumberOfThreadsChangesNoBit) {
  const c10::InferenceMode inference;
  const int threads = at::get_num_threads();
  for (const Version version : {Version::V4_0, Version::V4_25}) {
    const Model model = tiny(version);
    std::vector<at::Tensor> got;
    for (const int count : {1, 3}) {
      at::set_num_threads(count);
      got.push_back(model.between(model.frame(picture(100, 150, 0)), model.frame(picture(100, 150, 3)), 0.4));
    }
    EXPECT_TRUE(at::equal(got[0], got[1])) << releases(version);
  }
  at::set_num_threads(threads);
}

// Results may be equal for other stripes on one machine, and not on another.
TEST(Rife, NumberOfThreadsChangesNoStripe) {
  const c10::InferenceMode inference;
  const int threads = at::get_num_threads();
  Weights weights(draw);
  const Convolution convolution(weights.root(), "layer", /*in=*/4, /*out=*/8, /*stride=*/2, at::kFloat);
  const at::Tensor x = at::rand({1, 64, 128, 4});
  const auto stripes = [&](int count) {
    at::set_num_threads(count);
    std::mutex mutex;
    std::vector<std::pair<int64_t, int64_t>> seen;
    const Rows rows = [&](int64_t first, int64_t end) {
      const std::lock_guard lock(mutex);
      seen.emplace_back(first, end);
      return x.narrow(1, first, end - first);
    };
    convolution(Picture{rows, x.size(1), x.size(2), x.device()}, {});
    std::sort(seen.begin(), seen.end());
    return seen;
  };
  const auto by_one = stripes(1), by_three = stripes(3);
  at::set_num_threads(threads);
  EXPECT_GT(by_one.size(), 1u);
  EXPECT_EQ(by_one, by_three);
}

TEST(Rife, Of4_0LooksAgainWhereBothFramesMoveFar) {
  const c10::InferenceMode inference;
  // The only tensors of five values are what the blocks add to flow and mask; stage 1 counts its flow eight times.
  const auto factors = [](float first, float second) {
    at::manual_seed(3);
    Weights weights([&](at::IntArrayRef shape, Role role) {
      return shape == at::IntArrayRef({5}) ? at::tensor({first, first, second, second, 0.f}) : draw(shape, role) * 0.01;
    });
    const Model model(weights.root(), {Version::V4_0, {24, 16, 12, 8}});
    std::vector<int64_t> seen;
    const Frame frame = model.frame(picture(40, 60, 0));
    model.between(frame, frame, 0.5, [&](size_t stage, const Motion& motion) {
      if (stage != motion.architecture->widths.size() - 1) return;
      for (const Increment& increment : motion.stages) seen.push_back(increment.factor);
    });
    return seen;
  };
  EXPECT_EQ(factors(3, 3), (std::vector<int64_t>{16, 8, 4, 2}));
  EXPECT_EQ(factors(5, 3), (std::vector<int64_t>{16, 8, 4, 2}));
  EXPECT_EQ(factors(5, -5), (std::vector<int64_t>{32, 16, 8, 4}));
}

// The picture says so: a NaN anywhere in the weights must not end as a plausible one.
TEST(Rife, NaNComesThrough) {
  const c10::InferenceMode inference;
  for (const Version version : kVersions) {
    for (const bool by_rows : {true, false}) {
      at::manual_seed(3);
      int64_t number = 0;
      Weights weights([&](at::IntArrayRef shape, Role role) {
        at::Tensor values = draw(shape, role);
        if (number++ == 4) values.fill_(std::numeric_limits<float>::quiet_NaN());  // of one of the first layers
        return values;
      });
      const bool five = version == Version::V4_25;
      const Model model(
          weights.root(),
          {version, five ? std::vector<int64_t>{24, 16, 12, 8, 4} : std::vector<int64_t>{24, 16, 12, 8}, 4},
          {.by_rows = by_rows});
      const Frame frame = model.frame(picture(20, 20, 0));
      EXPECT_TRUE(model.between(frame, frame, 0.5).isnan().any().item<bool>()) << releases(version) << by_rows;
    }
  }
}

TEST(Rife, MemoryIsWhatSizesSay) {
  const c10::InferenceMode inference;
  const int64_t height = 500, width = 760;
  for (const Version version : kVersions) {
    for (const bool by_rows : {true, false}) {
      const Options options{.by_rows = by_rows};
      at::manual_seed(3);
      // Flows so short that 4.0 does not look again, from twice as far and with less memory.
      const float strength = version == Version::V4_0 ? 0.01f : 1.f;
      Weights weights([&](at::IntArrayRef shape, Role role) { return draw(shape, role) * strength; });
      const Architecture architecture{version,
                                      version == Version::V4_25 ? std::vector<int64_t>{192, 128, 96, 64, 32}
                                                                : std::vector<int64_t>{192, 128, 96, 64},
                                      version == Version::V4_13 ? 32 : 16};
      const Model model(weights.root(), architecture, options);
      const at::Tensor first = picture(height, width, 0), second = picture(height, width, 3);
      const Memory said = memory_of(architecture, height, width, options, by_rows ? at::get_num_threads() : 0);
      CountedMemory memory;
      const auto taken = [&](auto work) {
        memory.begin();
        const int64_t before = memory.now();
        const auto kept = work();
        return memory.peak() - before;
      };
      // Whole pictures are for devices, which have no Winograd products; here the largest of them is made beside.
      int64_t beside = 0;
      for (size_t i = 0; i < architecture.widths.size() && !by_rows; ++i) {
        const int64_t width_of = architecture.widths[i], smaller = 4 * architecture.scale(i);
        beside = std::max(beside, 4 * kernels::winograd_scratch(width_of, width_of, 512 / smaller, 768 / smaller,
                                                                at::get_num_threads()));
      }
      const Frame a = model.frame(first), b = model.frame(second);
      const int64_t encode = taken([&] { return model.frame(first); });
      const int64_t between = taken([&] { return model.between(a, b, 0.5); });
      std::printf("%s %s: frame %.1f MB; encode said %.1f, taken %.1f; between said %.1f, taken %.1f\n",
                  releases(version).c_str(), by_rows ? "by rows" : "whole", double(said.frame) / 1e6,
                  double(said.encode) / 1e6, double(encode) / 1e6, double(said.between) / 1e6, double(between) / 1e6);
      EXPECT_EQ(said.frame, int64_t(a.packed.nbytes()));
      EXPECT_NEAR(double(said.between + beside) / double(between), 1, 0.15);
      EXPECT_NEAR(double(said.encode) / double(encode), 1, 0.15);
    }
  }
}

TEST(Rife, WorkGrowsWithThePaddedFrame) {
  const Architecture architecture{Version::V4_25, {192, 128, 96, 64, 32}, 16};
  const Work small = work_of(architecture, 100, 100), large = work_of(architecture, 256, 256);
  EXPECT_DOUBLE_EQ(4 * small.between, large.between);
  EXPECT_DOUBLE_EQ(4 * small.frame, large.frame);
  EXPECT_DOUBLE_EQ(work_of(architecture, 256, 256, 0.5).between, large.between / 4);
  // Block 4 alone, by hand: 28 -> 16 at half, 16 -> 32 and eight times 32 -> 32 at a quarter, 32 -> 20 transposed.
  const double half = 128 * 128, quarter = 64 * 64;
  const double last = 2 * (half * 28 * 16 * 9 + quarter * 16 * 32 * 9 + 8 * quarter * 32 * 32 * 9 + half * 32 * 20 * 4);
  EXPECT_GT(large.between, last);
  EXPECT_LT(large.between, 5 * last);
}

}  // namespace
}  // namespace wan::rife
