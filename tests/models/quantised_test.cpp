// Layouts of quantised checkpoints: the values of each, computed here from the bytes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "models/weights/format/format.h"
#include "tests/models/quantised.h"
#include "tests/sparse_checkpoint.h"

namespace wan::quantised {
namespace {

constexpr int64_t N = 160, K = 192;  // no whole tiles and no whole blocks of 128

float value_of(at::ScalarType dtype, uint8_t code) {
  if (dtype == at::kChar) return float(int8_t(code));
  return dtype == at::kFloat8_e5m2 ? e5m2(code) : e4m3(code);
}

/// code * scale(row, column) of bytes [N, K] that are elements of `dtype`.
at::Tensor scaled(const at::Tensor& codes, at::ScalarType dtype, const std::function<float(int64_t, int64_t)>& scale) {
  const int64_t columns = codes.size(1);
  const auto* code = codes.const_data_ptr<uint8_t>();
  return matrix(codes.size(0), columns, [&](int64_t row, int64_t column) {
    return value_of(dtype, code[row * columns + column]) * scale(row, column);
  });
}

/// That the file's only tensor is `name` with these values, and that it is coded.
void expect_only(const Checkpoint& file, const std::string& name, const at::Tensor& want) {
  ASSERT_EQ(file.tensors().size(), 1u);
  ASSERT_TRUE(file.tensors().contains(name)) << file.tensors().begin()->first;
  const StoredTensor& stored = file.tensors().at(name);
  EXPECT_EQ(stored.shape, want.sizes().vec());
  EXPECT_EQ(stored.dtype, at::kFloat);
  EXPECT_TRUE(stored.coding && stored.scales);
  EXPECT_TRUE(at::equal(file.map(name), want)) << name;
}

/// Scales of a shape, and which one of them is a value's.
struct Form {
  std::vector<int64_t> shape;
  std::function<int64_t(int64_t, int64_t)> index;
};

std::vector<Form> forms_of(int64_t rows, int64_t columns) {
  const auto whole = [](int64_t, int64_t) { return int64_t{0}; };
  const auto row_of = [](int64_t row, int64_t) { return row; };
  const int64_t across = (columns + 127) / 128;
  const auto part = [=](int64_t row, int64_t column) { return row * (columns / 64) + column / 64; };
  const auto block = [=](int64_t row, int64_t column) { return row / 128 * across + column / 128; };
  return {{{}, whole},
          {{1}, whole},
          {{1, 1}, whole},
          {{rows}, row_of},
          {{rows, 1}, row_of},
          {{rows, columns / 64, 1}, part},
          {{rows, columns / 64}, part},
          {{(rows + 127) / 128, across}, block},
          {{(rows + 127) / 128, 1, across, 1}, block}};
}

}  // namespace

TEST(Quantised, FloatScalesCoverWhatTheirShapeSays) {
  uint64_t seed = 1;
  for (const at::ScalarType dtype : {at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kChar})
    for (const Form& form : forms_of(N, K))
      for (const at::ScalarType of_scale : {at::kFloat, at::kBFloat16, at::kHalf}) {
        SCOPED_TRACE(c10::str(dtype, " with ", of_scale, " ", at::IntArrayRef(form.shape)));
        const at::Tensor codes = bytes({N, K}, ++seed), scale = scales(form.shape, seed).to(of_scale);
        const at::Tensor plain = scale.to(at::kFloat);
        Files files;
        files.write({{"a.weight", codes.view(dtype)}, {seed % 2 ? "a.weight_scale" : "a.scale_weight", scale}});
        expect_only(files.open(), "a.weight", scaled(codes, dtype, [&](int64_t row, int64_t column) {
                      return plain.const_data_ptr<float>()[form.index(row, column)];
                    }));
      }
}

TEST(Quantised, OneRowHasPartsOfItsOwn) {
  const at::Tensor codes = bytes({1, 256}, 5);
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1, 4, 1}, {1, 2}, {1}}) {
    const at::Tensor scale = scales(shape, 6);
    const int64_t part = 256 / scale.numel();
    Files files;
    files.write({{"a.weight", codes.view(at::kFloat8_e4m3fn)}, {"a.weight_scale", scale}});
    expect_only(files.open(), "a.weight", scaled(codes, at::kFloat8_e4m3fn, [&](int64_t, int64_t column) {
                  return scale.const_data_ptr<float>()[column / part];
                }));
  }
}

TEST(Quantised, AKernelIsScaledByItsFirstAxis) {
  const at::Tensor codes = bytes({130, 64}, 7);
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{130, 1}, std::vector<int64_t>{2, 1}}) {
    const at::Tensor scale = scales(shape, 8);
    const int64_t rows = shape[0] == 2 ? 128 : 1;
    Files files;
    files.write({{"a.weight", codes.view(at::kFloat8_e4m3fn).view({130, 16, 1, 2, 2})}, {"a.weight_scale", scale}});
    const at::Tensor want = scaled(codes, at::kFloat8_e4m3fn,
                                   [&](int64_t row, int64_t) { return scale.const_data_ptr<float>()[row / rows]; });
    expect_only(files.open(), "a.weight", want.view({130, 16, 1, 2, 2}));
  }
}

TEST(Quantised, WithoutScalesFp8IsPlain) {
  const at::Tensor codes = bytes({4, 8}, 9);
  Files files;
  files.write(
      {{"a.weight", codes.view(at::kFloat8_e5m2)}, {"a.modulation", bytes({1, 6, 4}, 3).view(at::kFloat8_e4m3fn)}});
  const Checkpoint file = files.open();
  EXPECT_EQ(file.tensors().size(), 2u);
  EXPECT_TRUE(at::equal(file.map("a.weight").to(at::kFloat),
                        scaled(codes, at::kFloat8_e5m2, [](int64_t, int64_t) { return 1.f; })));
}

TEST(Quantised, QuantoKeepsCodesAndScalesUnderTheWeight) {
  const at::Tensor codes = bytes({N, K}, 10), scale = scales({N, 1}, 11).to(at::kBFloat16);
  Files files;
  files.write({{"blocks.0.ffn.0.weight._data", codes.view(at::kChar)},
               {"blocks.0.ffn.0.weight._scale", scale},
               {"blocks.0.ffn.0.input_scale", scalar(1, at::kBFloat16)},
               {"blocks.0.ffn.0.output_scale", scalar(1, at::kBFloat16)}},
              {{"quantization_map", R"({"blocks.0.ffn.0": {"weights": "qint8", "activations": "none"}})"}});
  const at::Tensor plain = scale.to(at::kFloat);
  expect_only(files.open(), "blocks.0.ffn.0.weight",
              scaled(codes, at::kChar, [&](int64_t row, int64_t) { return plain.const_data_ptr<float>()[row]; }));
}

TEST(Quantised, Nvfp4OfEachProgramHasItsOwnOrder) {
  const int64_t groups = K / 16;  // 12 of 160 rows: tiles of 256 x 12
  const at::Tensor codes = bytes({N, K / 2}, 12), in_tiles = bytes({256, groups}, 13).bitwise_and_(0x7F),
                   in_rows = bytes({N, groups}, 14).bitwise_and_(0x7F);
  const auto values = [&](bool high_first, bool tiles, float factor) {
    return matrix(N, K, [&, high_first, tiles, factor](int64_t row, int64_t column) {
      const uint8_t pair = codes.const_data_ptr<uint8_t>()[(row * K + column) / 2];
      const int code = (column % 2 == 0) == high_first ? pair >> 4 : pair & 15;
      const uint8_t scale = tiles ? in_tiles.const_data_ptr<uint8_t>()[tiled(row, column / 16, groups)]
                                  : in_rows.const_data_ptr<uint8_t>()[row * groups + column / 16];
      return e2m1(code) * e4m3(scale) * factor;
    });
  };
  const at::Tensor as_e4m3 = in_tiles.view(at::kFloat8_e4m3fn);
  for (const at::Tensor& scale : {as_e4m3, in_tiles}) {
    Files files;
    files.write({{"a.weight", codes},
                 {"a.weight_scale", scale},
                 {"a.weight_scale_2", scalar(0.25)},
                 {"a.input_scale", scalar(0.5)},
                 {"a.comfy_quant", text(R"({"format": "nvfp4", "orig_dtype": "bf16"})")}});
    expect_only(files.open(), "a.weight", values(true, true, 0.25f));
  }
  Files light;
  light.write({{"a.weight", codes},
               {"a.weight_scale", as_e4m3},
               {"a.alpha", scalar(0.125)},
               {"a.input_global_scale", scalar(4)}});
  expect_only(light.open(), "a.weight", values(false, true, 0.5f));
  light.write({{"a.weight", codes},
               {"a.weight_scale", as_e4m3},
               {"a.input_absmax", scalar(9)},
               {"a.weight_global_scale", scalar(8)}});
  expect_only(light.open(), "a.weight", values(false, true, 0.125f));
  const Tensors by_modelopt = {{"a.weight", codes},
                               {"a.weight_scale", in_rows.view(at::kFloat8_e4m3fn)},
                               {"a.weight_scale_2", scalar(2)},
                               {"a.input_scale", scalar(0.5)}};
  Files folder;
  folder.write(by_modelopt)
      .write_text("config.json", R"({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}})");
  expect_only(Checkpoint::open(folder.folder()), "a.weight", values(false, false, 2));
}

TEST(Quantised, ModelOptimizersFp8HasScalarsOrBlocks) {
  const at::Tensor codes = bytes({N, K}, 15), grid = scales({2, 1, 2, 1}, 16);
  Files folder;
  folder
      .write({{"a.weight", codes.view(at::kFloat8_e4m3fn)},
              {"a.weight_scale", scalar(0.75)},
              {"a.input_scale", scalar(0.5)}})
      .write_text("hf_quant_config.json",
                  R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "MIXED_PRECISION",
          "quantized_layers": {"a": {"quant_algo": "FP8"}, "b": {"quant_algo": "NVFP4", "group_size": 16}}}})");
  expect_only(Checkpoint::open(folder.folder()), "a.weight",
              scaled(codes, at::kFloat8_e4m3fn, [](int64_t, int64_t) { return 0.75f; }));
  folder.write({{"a.weight", codes.view(at::kFloat8_e4m3fn)}, {"a.weight_scale", grid}})
      .write_text("hf_quant_config.json", R"({"quantization": {"quant_algo": "FP8_PB_WO"}})");
  expect_only(Checkpoint::open(folder.folder()), "a.weight",
              scaled(codes, at::kFloat8_e4m3fn, [&](int64_t row, int64_t column) {
                return grid.const_data_ptr<float>()[row / 128 * 2 + column / 128];
              }));
}

TEST(Quantised, Mxfp8HasPowersOfTwoInTiles) {
  const int64_t groups = K / 32;  // 6: padded to 8
  const at::Tensor codes = bytes({N, K}, 17), scale = bytes({256, 8}, 18).bitwise_and_(15).add_(120);
  for (const at::Tensor& stored : {scale, scale.view(at::kFloat8_e8m0fnu)}) {
    Files files;
    files.write({{"a.weight", codes.view(at::kFloat8_e4m3fn)}, {"a.weight_scale", stored}},
                {{"_quantization_metadata", R"({"layers": {"a": "mxfp8"}})"}});
    expect_only(files.open(), "a.weight", scaled(codes, at::kFloat8_e4m3fn, [&](int64_t row, int64_t column) {
                  return e8m0(scale.const_data_ptr<uint8_t>()[tiled(row, column / 32, groups)]);
                }));
  }
}

TEST(Quantised, RotatedRowsAreTurnedBack) {
  // A row of H, the Hadamard matrix of order 4, turned again is a unit vector.
  const at::Tensor codes = at::tensor({1, 1, 1, -1, 1, 1, -1, 1}, at::kChar).view({1, 8});
  Files files;
  files.write({{"a.weight", codes},
               {"a.weight_scale", scalar(0.5)},
               {"a.comfy_quant", text(R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 4})")}});
  expect_only(files.open(), "a.weight", at::tensor({1.f, 0.f, 0.f, 0.f, 0.f, 1.f, 0.f, 0.f}).view({1, 8}));
}

TEST(Quantised, ThePrefixIsOneOfTheWholeNetwork) {
  const at::Tensor codes = bytes({4, 8}, 19);
  const auto want = scaled(codes, at::kFloat8_e4m3fn, [](int64_t, int64_t) { return 0.5f; });
  for (const std::string& prefix :
       std::vector<std::string>{"model.diffusion_model.", "diffusion_model.", "model.", "net.", "module.", ""})
    for (const std::string& in_metadata : {prefix, std::string()}) {
      Files files;
      files.write(
          {{prefix + "a.weight", codes.view(at::kFloat8_e4m3fn)},
           {prefix + "a.weight_scale", scalar(0.5)},
           {"scaled_fp8", at::empty({0}, at::kByte).view(at::kFloat8_e4m3fn)}},
          {{"_quantization_metadata", R"({"layers": {")" + in_metadata + R"(a": {"format": "float8_e4m3fn"}}})"}});
      expect_only(files.open(), "a.weight", want);
    }
  Files mixed;
  mixed.write({{"model.a", at::ones({2})}, {"b", at::ones({2})}});
  EXPECT_TRUE(mixed.open().tensors().contains("model.a")) << "not all have it";
}

TEST(Quantised, OtherNetworksOfTheFileAreLeftOutAndTold) {
  const at::Tensor codes = bytes({4, 8}, 20);
  Tensors tensors = {{"model.diffusion_model.a.weight", codes.view(at::kFloat8_e4m3fn)},
                     {"model.diffusion_model.a.weight_scale", scalar(0.5)},
                     {"vae.decoder.weight", at::ones({2})},
                     {"text_encoders.umt5.b.weight", bytes({2, 4}, 1)},
                     {"text_encoders.umt5.c.weight", at::ones({2})}};
  const Metadata metadata = {{"_quantization_metadata", R"({"layers": {"text_encoders.umt5.b": "nvfp4"}})"}};
  Files files;
  const Checkpoint file = files.write(tensors, metadata).open();
  EXPECT_EQ(file.left_out(), (std::vector<std::string>{"text_encoders", "vae"}));
  expect_only(file, "a.weight", scaled(codes, at::kFloat8_e4m3fn, [](int64_t, int64_t) { return 0.5f; }));
  tensors.erase("text_encoders.umt5.b.weight");
  tensors["something.else"] = at::ones({2});
  const Checkpoint unknown = files.write(tensors).open();
  EXPECT_TRUE(unknown.left_out().empty());
  EXPECT_TRUE(unknown.tensors().contains("model.diffusion_model.a.weight")) << "what it is cannot be known";
}

TEST(Quantised, AScaleMayLieInAnotherShard) {
  const at::Tensor codes = bytes({4, 8}, 21);
  Files files;
  files.write({{"a.weight", codes.view(at::kChar)}},
              {{"_quantization_metadata", R"({"layers": {"a": "int8_tensorwise"}})"}},
              "model-00001-of-00002.safetensors");
  files.write({{"a.weight_scale", scales({4, 1}, 22)}}, {}, "model-00002-of-00002.safetensors");
  const at::Tensor scale = scales({4, 1}, 22);
  expect_only(Checkpoint::open(files.folder()), "a.weight",
              scaled(codes, at::kChar, [&](int64_t row, int64_t) { return scale.const_data_ptr<float>()[row]; }));
}

TEST(Quantised, OtherTensorsOfSuchNamesStay) {
  const Tensors tensors = {{"lora_unet_a.alpha", scalar(8)},   {"lora_unet_a.lora_down.weight", at::ones({2, 3})},
                           {"act.alpha", at::ones({1, 4, 1})}, {"act.weight", at::ones({4})},
                           {"spiece_model", bytes({64}, 1)},   {"scale_shift_table", at::ones({1, 2, 4})},
                           {"norm.scale", at::ones({4})},      {"ids", at::zeros({2}, at::kLong)}};
  Files files;
  const Checkpoint file = files.write(tensors).open();
  EXPECT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(at::equal(file.map(name), tensor)) << name;
}

TEST(Quantised, BytesCountScales) {
  Files files;
  files.write(
      {{"a.weight", bytes({4, 8}, 1).view(at::kChar)}, {"a.weight_scale", scales({4, 1}, 1)}, {"b", at::ones({3})}});
  EXPECT_EQ(files.open().bytes(), 4u * 8 + 4 * 4 + 3 * 4);
}

TEST(Quantised, TheRealSizeIsOpenedFromItsHeader) {
  std::map<std::string, StoredTensor> tensors = published_tensors("official_dit_t2v_a14b");
  size_t layers = 0;
  for (auto& [name, tensor] : std::map(tensors)) {
    if (tensor.shape.size() != 2 || !name.starts_with("blocks.")) continue;
    tensors.at(name).dtype = at::kFloat8_e4m3fn;
    const std::string layer = name.substr(0, name.size() - 6);
    for (const char* leaf : {"scale_weight", "scale_input"})
      tensors.emplace(layer + leaf, StoredTensor{at::kFloat, {}, {}, nullptr});
    ++layers;
  }
  EXPECT_EQ(layers, 400u);
  TemporaryFolder folder;
  write_sparse_shards(folder.path(), tensors, 1);
  const std::filesystem::path path = Checkpoint::paths(folder.path()).at(0);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const float half = 0.5f;
  for (const auto& [name, tensor] : read_tensors(MappedFile::open(path)))
    if (name.ends_with(".scale_weight"))
      file.seekp(std::streamoff(tensor.offset)).write(reinterpret_cast<const char*>(&half), sizeof half);
  file.close();
  double best = 1;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const Checkpoint opened = Checkpoint::open(folder.path());
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    EXPECT_EQ(opened.tensors().size(), 1095u);
    EXPECT_EQ(opened.tensors().at("blocks.39.ffn.2.weight").scales->factor, 0.5f);
  }
  EXPECT_LT(best, 5) << "seconds: whoever reads the weights takes longer";
}

}  // namespace wan::quantised
