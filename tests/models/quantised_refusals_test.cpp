// Quantised checkpoints that must be refused, with the words for what is wrong.
#include <gtest/gtest.h>

#include <cmath>

#include "models/files/error.h"
#include "tests/models/quantised.h"
#include "tests/support/checkpoint_files.h"

namespace wan::quantised {
namespace {

at::Tensor fp8(at::IntArrayRef shape = {4, 64}) {
  return bytes(shape, 1).view(at::kFloat8_e4m3fn);
}

at::Tensor int8(at::IntArrayRef shape = {4, 64}) {
  return bytes(shape, 2).view(at::kChar);
}

void expect_refused(const Tensors& tensors, const std::string& tensor, const std::string& reason,
                    const Metadata& metadata = {}) {
  const std::string words = refusal(tensors, metadata);
  EXPECT_NE(words.find("model.safetensors: " + tensor + "]"), std::string::npos) << reason << ": " << words;
  EXPECT_NE(words.find(reason), std::string::npos) << words;
}

at::Tensor rotated(int64_t order) {
  return text(R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": )" + std::to_string(order) + "}");
}

}  // namespace

TEST(QuantisedRefusals, AScaleWantsAWeightInCodes) {
  for (const char* scale : {"a.weight_scale", "a.scale_weight", "a.input_scale", "a.weight_scale_2"})
    expect_refused({{"a.weight", at::ones({4, 64})}, {scale, scalar(1)}}, "a.weight", "must be in codes");
  expect_refused({{"a.weight_scale", scalar(1)}, {"b", at::ones({2})}}, "a.weight_scale", "must lie beside a.weight");
  expect_refused({{"a.comfy_quant", text(R"({"format": "mxfp8"})")}}, "a.comfy_quant", "must lie beside a.weight");
  expect_refused({{"a.weight", fp8({0, 64})}, {"a.weight_scale", scalar(1)}}, "a.weight", "has shape [0, 64]");
}

TEST(QuantisedRefusals, CodesWantAScale) {
  expect_refused({{"a.weight", int8()}}, "a.weight", "must have a scale beside it, as it is in I8");
  expect_refused({{"a.weight", bytes({4, 64}, 1)}}, "a.weight", "must have a scale beside it, as it is in U8");
  const Tensors other = {{"a.weight", fp8()}, {"b.weight", fp8()}, {"b.weight_scale", scalar(1)}};
  expect_refused(other, "a.weight", "as the file's other weights have");
  expect_refused({{"a.weight", fp8()}, {"scaled_fp8", fp8({2})}}, "a.weight", "must have a scale beside it");
  expect_refused({{"a.weight", fp8()}, {"a.comfy_quant", text(R"({"format": "float8_e4m3fn"})")}}, "a.weight",
                 "must have weight_scale beside it");
  expect_refused({{"a.weight", fp8()}, {"a.scale_input", scalar(1)}}, "a.weight", "must have weight_scale beside it");
}

TEST(QuantisedRefusals, FormatsThatAreNotKnown) {
  for (const std::string format :
       {"convrot_w4a4", "asym_w4a8_int8", "awq_w4a16", "mxfp4", "mxfp6", "int4", "float8_e4m3fn_rowwise"}) {
    const Tensors layer = {{"a.weight", int8()}, {"a.weight_scale", scalar(1)}};
    Tensors marked = layer;
    marked["a.comfy_quant"] = text(R"({"format": ")" + format + "\"}");
    expect_refused(marked, "a.comfy_quant", "is " + format + ";");
    expect_refused(layer, "a", "is " + format + ";",
                   {{"_quantization_metadata", R"({"layers": {"a": {"format": ")" + format + "\"}}}"}});
  }
  for (const char* tensor : {"a.pre_quant_scale", "a.weight_scale_inv", "a.weight_zero_point", "a.weight._shift"})
    expect_refused({{"a.weight", fp8()}, {"a.weight_scale", scalar(1)}, {tensor, at::ones({64})}}, tensor,
                   "belongs to a quantisation that is not read");
  expect_refused({{"a.weight", fp8()}, {"a.weight_scale", scalar(1)}, {"a.input_scale", at::ones({64})}},
                 "a.input_scale", "must be a scale of one value");
}

TEST(QuantisedRefusals, ShapesOfScales) {
  const std::vector<std::vector<int64_t>> shapes = {{5},          {64},          {4, 7},          {5, 1}, {1, 4},
                                                    {64, 4},      {4, 1, 4},     {2, 2},          {0},    {4, 0},
                                                    {1, 1, 4, 1}, {4, 1, 16, 1}, {4, 64, 1, 1, 1}};
  for (const auto& shape : shapes)
    expect_refused({{"a.weight", fp8()}, {"a.weight_scale", at::ones(shape)}}, "a.weight_scale",
                   "has shape " + c10::str(at::IntArrayRef(shape)) + ";");
  expect_refused({{"a.weight", fp8({1, 160})}, {"a.weight_scale", at::ones({1, 2})}}, "a.weight_scale",
                 "has shape [1, 2]");
  expect_refused({{"a.weight", fp8({129, 64})}, {"a.weight_scale", at::ones({1, 1, 2, 1})}}, "a.weight_scale",
                 "has shape [1, 1, 2, 1]");
}

TEST(QuantisedRefusals, DtypesOfScales) {
  for (const at::ScalarType dtype : {at::kByte, at::kInt, at::kDouble, at::kChar})
    expect_refused({{"a.weight", fp8()}, {"a.weight_scale", at::ones({4, 2}, dtype)}}, "a.weight_scale",
                   "must be a scale in F32, F16 or BF16");
  expect_refused({{"a.weight", fp8()}, {"a.weight_scale", at::ones({4, 2}, at::kByte).view(at::kFloat8_e8m0fnu)}},
                 "a.weight_scale", "is in F8_E8M0; scales in 8 bits");
  const Metadata mxfp8 = {{"_quantization_metadata", R"({"layers": {"a": "mxfp8"}})"}};
  expect_refused({{"a.weight", fp8()}, {"a.weight_scale", at::ones({128, 4})}}, "a.weight_scale",
                 "must be scales in F8_E8M0 or U8", mxfp8);
  expect_refused({{"a.weight", fp8()}, {"a.weight_scale", bytes({4, 2}, 1)}}, "a.weight_scale",
                 "must have shape [128, 4]", mxfp8);
  expect_refused({{"a.weight", fp8({4, 48})}, {"a.weight_scale", bytes({128, 4}, 1)}}, "a.weight", "whole blocks of 32",
                 mxfp8);
}

TEST(QuantisedRefusals, ValuesOfScalars) {
  for (const double value : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()})
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16})
      expect_refused({{"a.weight", fp8()}, {"a.weight_scale", scalar(value, dtype)}}, "a.weight_scale",
                     "must be a scale above zero");
  Files files;
  at::Tensor scale = scales({4, 1}, 1);
  scale.fill_(std::nan(""));
  const Checkpoint file = files.write({{"a.weight", fp8()}, {"a.weight_scale", scale}}).open();
  EXPECT_THROW(file.map("a.weight"), ModelError) << "those of rows are read with the weight";
  const Tensors tiny = {{"a.weight", bytes({1, 8}, 1)},
                        {"a.weight_scale", bytes({128, 4}, 1)},
                        {"a.alpha", scalar(1e-30)},
                        {"a.input_global_scale", scalar(1e-30)}};
  expect_refused(tiny, "a.weight", "whose product is above zero");
}

TEST(QuantisedRefusals, DescriptionsThatContradict) {
  const Tensors layer = {{"a.weight", fp8()}, {"a.weight_scale", scalar(1)}};
  Tensors two = layer;
  two["a.scale_weight"] = scalar(1);
  expect_refused(two, "a.weight_scale", "a.scale_weight says the same");
  Tensors marked = layer;
  marked["a.comfy_quant"] = text(R"({"format": "float8_e4m3fn"})");
  expect_refused(marked, "a", "must have one description",
                 {{"_quantization_metadata", R"({"layers": {"a": "mxfp8"}})"}});
  expect_refused(layer, "_quantization_metadata", "must lie beside b.weight",
                 {{"_quantization_metadata", R"({"layers": {"b": "mxfp8"}})"}});
  for (const char* format : {"float8_e5m2", "int8_tensorwise", "nvfp4"})
    expect_refused(layer, "a.weight", std::string("said to be ") + format + ", is in F8_E4M3",
                   {{"_quantization_metadata", std::string(R"({"layers": {"a": ")") + format + "\"}}"}});
  Tensors e5m2 = layer;
  e5m2["scaled_fp8"] = bytes({2}, 1).view(at::kFloat8_e5m2);
  expect_refused(e5m2, "a.weight", "must be in F8_E5M2 as scaled_fp8 says");
  Tensors twice = {{"a.weight", int8()}, {"a.weight._data", int8()}, {"a.weight._scale", scalar(1)}};
  expect_refused(twice, "a.weight._data", "must be the only weight");
  Tensors more = layer;
  more["a.weight_scale_2"] = scalar(1);
  expect_refused(more, "a.weight_scale_2", "must not lie beside a.weight");
  expect_refused({{"net.a", at::ones({2})}, {"net.scaled_fp8", fp8({2})}, {"scaled_fp8", fp8({2})}}, "scaled_fp8",
                 "with and without net.");
}

TEST(QuantisedRefusals, Rotations) {
  const auto layer = [](const at::Tensor& marker) {
    return Tensors{{"a.weight", int8()}, {"a.weight_scale", scalar(1)}, {"a.comfy_quant", marker}};
  };
  expect_refused(layer(rotated(256)), "a.weight", "whole groups of 256");
  expect_refused(layer(text(R"({"format": "int8_tensorwise", "convrot": true})")), "a.weight", "whole groups of 256");
  for (const int64_t order : {0, 1, 2, 8, 32, 48, -4, 1 << 20})
    expect_refused(layer(rotated(order)), "a.comfy_quant", "a power of 4");
  expect_refused(layer(text(R"({"format": "int8_tensorwise", "convrot": 1})")), "a.comfy_quant", "true or false");
  expect_refused(layer(text(R"({"format": "nvfp4", "convrot": true})")), "a.comfy_quant", "must be int8_tensorwise");
}

TEST(QuantisedRefusals, Markers) {
  const auto layer = [](const at::Tensor& marker) {
    return Tensors{{"a.weight", fp8()}, {"a.weight_scale", scalar(1)}, {"a.comfy_quant", marker}};
  };
  expect_refused(layer(at::ones({4})), "a.comfy_quant", "must be a row of bytes");
  expect_refused(layer(text("{\"format\"")), "a.comfy_quant", "is cut short");
  expect_refused(layer(text("[]")), "a.comfy_quant", "must say the format");
  expect_refused(layer(text("{\"format\": 4}")), "a.comfy_quant", "is 4;");
  expect_refused(layer(text(std::string(100'000, '['))), "a.comfy_quant", "must have at most");
  const std::string words = refusal({{"a.weight", fp8()}}, {{"_quantization_metadata", "{}"}});
  EXPECT_NE(words.find("must have the layers in _quantization_metadata"), std::string::npos) << words;
}

TEST(QuantisedRefusals, FourBitsOfAnUnknownProgram) {
  const Tensors plain = {{"a.weight", bytes({4, 32}, 1)},
                         {"a.weight_scale", bytes({4, 4}, 1).view(at::kFloat8_e4m3fn)}};
  expect_refused(plain, "a.weight", "must have weight_scale_2 beside it");
  Tensors by_modelopt = plain;
  by_modelopt["a.weight_scale_2"] = scalar(1);
  expect_refused(by_modelopt, "a.weight", "must be said to be nvfp4");
  Tensors half = plain;
  half["a.alpha"] = scalar(1);
  expect_refused(half, "a.weight", "must have input_global_scale beside it");
  half["a.input_global_scale"] = scalar(1);
  expect_refused(half, "a.weight_scale", "must have shape [128, 4]");
  half["a.weight_global_scale"] = scalar(1);
  expect_refused(half, "a.weight_global_scale", "must not lie beside a.weight");
  expect_refused({{"a.weight", bytes({4, 12}, 1)}, {"a.weight_scale", scalar(1)}}, "a.weight",
                 "whole blocks of 8 bytes");
  by_modelopt["a.comfy_quant"] = text(R"({"format": "nvfp4"})");
  expect_refused(by_modelopt, "a.weight", "is by both", {{"quantization_config", R"({"quant_algo": "NVFP4"})"}});
}

TEST(QuantisedRefusals, FoldersOfModelOptimizer) {
  Files folder;
  folder.write(
      {{"a.weight", bytes({4, 32}, 1)}, {"a.weight_scale", bytes({4, 4}, 1)}, {"a.weight_scale_2", scalar(1)}});
  const auto refused = [&](const std::string& quantisation) {
    folder.write_text("hf_quant_config.json", quantisation);
    return refusal_of(folder.folder());
  };
  EXPECT_EQ(refused(R"({"quantization": {"quant_algo": "NVFP4"}})"), "");
  for (const char* way : {"W4A16_AWQ", "NVFP4_SVD", "INT4_AWQ", ""}) {
    const std::string words = refused(std::string(R"({"quantization": {"quant_algo": ")") + way + "\"}}");
    EXPECT_NE(words.find("by its quant_algo, is \"" + std::string(way) + "\""), std::string::npos) << words;
  }
  EXPECT_NE(refused(R"({"quantization": {"quant_algo": "FP8"}})").find("must be said to be nvfp4"), std::string::npos);
  EXPECT_NE(refused(R"({"quantization": )").find("is cut short"), std::string::npos);
}

}  // namespace wan::quantised
