// Weights that keep the codes of their files, or get codes of their own: what they multiply as and take.
#include "models/layers.h"
#include "models/weights/format/safetensors.h"
#include "tests/coded_checkpoint.h"
#include "tests/support.h"

namespace wan {
namespace {

using kernels::Code;
using kernels::CodedMatrix;

constexpr int64_t kRows = 24, kColumns = 512;

/// A device's copies, on the CPU.
Place copied(at::ScalarType compute = at::kFloat, Kept kept = Kept::Stored) {
  return {.compute = compute, .mapped = false, .kept = kept};
}
Place mapped(Kept kept = Kept::Stored) {
  return {.kept = kept};
}

Weight weight_of(const std::vector<StoredPart>& parts, const Place& place, Role role = Role::Block) {
  std::vector<Part> names;
  for (const StoredPart& part : parts) names.push_back({"part" + std::to_string(names.size()), part.shape()});
  return Weight(names, role, {.linear = true}, place, parts);
}

/// The matrix of all parts, in float64.
Tensor values_of(const std::vector<StoredPart>& parts) {
  std::vector<Tensor> values;
  for (const StoredPart& part : parts) values.push_back(values_of(part, kernels::default_context()).to(at::kDouble));
  return at::cat(values);
}

const void* address(const StoredPart& part) {
  return (part.is_coded() ? part.codes->codes : part.values).const_data_ptr();
}
const InCodes& in_codes(const Weight& weight) {
  return std::get<InCodes>(weight.storage());
}

/// A matrix with scales beside it, of each kind that files have.
std::vector<CodedMatrix> scaled_codes() {
  const auto with = [](Code code, const Tensor& scale, int64_t rows, int64_t columns, float factor = 1,
                       int64_t rotation = 0) {
    CodedMatrix matrix = random_codes(code, kRows, kColumns, 7);
    matrix.scale = scale;
    matrix.scale_rows = rows;
    matrix.scale_columns = columns;
    matrix.factor = factor;
    matrix.rotation = rotation;
    return matrix;
  };
  const auto scales = [](int64_t rows, int64_t columns) { return at::rand({rows, columns}) + 0.5; };
  return {with(Code::E4M3, scales(1, 1), kRows, kColumns),
          with(Code::E4M3, scales(kRows, 1), 1, kColumns),
          with(Code::E4M3, scales(2, 4), 16, 128),
          with(Code::E4M3, scales(kRows, 16).to(at::kFloat8_e8m0fnu), 1, 32),
          with(Code::E5M2, scales(kRows, 8), 1, 64),
          with(Code::Int8, scales(kRows, 1), 1, kColumns, 1, 256),
          with(Code::E2M1, scales(kRows, 32).to(at::kFloat8_e4m3fn), 1, 16, 0.25f),
          with(Code::E2M1Swapped, scales(kRows, 32).to(at::kFloat8_e4m3fn), 1, 16, 3)};
}

/// The largest error of a product whose matrix is exactly `values`, rounded to `compute` like its bias and its result, and
/// whose sums are float32.
Tensor bound_of(const Tensor& x, const Tensor& values, const Tensor& bias, at::ScalarType compute) {
  const double round = compute == at::kBFloat16 ? 0x1p-9 : 0, sums = double(values.size(1) + 2) * 0x1p-24;
  const Tensor magnitude = at::linear(x.abs(), values.abs(), bias.abs());
  return magnitude * (2.02 * round + sums);
}

void expect_product(const std::vector<StoredPart>& parts, const Place& place) {
  const Weight weight = weight_of(parts, place);
  const Tensor values = values_of(parts), x = at::randn({3, 5, kColumns}).to(place.compute);
  const Weight bias({{"bias", {values.size(0)}}}, Role::Block, {}, place, {at::randn({values.size(0)})});
  const Tensor xs = x.to(at::kDouble), b = bias.tensor().to(at::kDouble);
  const Tensor want = at::linear(xs, values, b), bound = bound_of(xs, values, b, place.compute);
  const Tensor got = product(x, weight, bias, Activation::None, place.compute);
  EXPECT_EQ(got.scalar_type(), place.compute);
  EXPECT_EQ(weight.shape(), values.sizes());
  EXPECT_FALSE(weight.takes_codes());
  EXPECT_LE((got.to(at::kDouble) - want).abs().sub(bound).max().item<double>(), 0);
  const Tensor gate = at::randn({1, values.size(0)}), before = at::randn({3, 5, values.size(0)});
  Tensor residual = before.clone();
  add_product(residual, x, weight, bias, gate, {5});
  EXPECT_TRUE(is_close(residual, before + gate * got.to(at::kFloat), 1e-5 * (1 + got.abs().max().item<double>())));
}

TEST(CodedWeight, MultipliesAsItsValues) {
  at::manual_seed(31);
  std::vector<CodedMatrix> matrices = scaled_codes();
  for (Code code : all_codes()) matrices.push_back(random_codes(code, kRows, kColumns, uint64_t(code)));
  for (const CodedMatrix& matrix : matrices) {
    SCOPED_TRACE(std::string(matrix.coding->name) + (matrix.scale.defined() ? " with scales" : ""));
    for (const Place& place : {mapped(), copied(), copied(at::kBFloat16)}) {
      expect_product({matrix}, place);
      const Weight weight = weight_of({matrix}, place);
      EXPECT_EQ(in_codes(weight).mapped, place.mapped);
      EXPECT_EQ(address(in_codes(weight).parts[0]) == matrix.codes.const_data_ptr(), place.mapped);
      const uint64_t bytes = matrix.codes.nbytes() + (matrix.scale.defined() ? matrix.scale.nbytes() : 0);
      EXPECT_EQ(weight.bytes(), place.mapped ? 0 : bytes);
      EXPECT_EQ(weight_of({matrix}, place.planned()).bytes(), weight.bytes());
      EXPECT_TRUE(weight_of({matrix}, place.planned()).device().is_meta());
      EXPECT_THROW(weight.tensor(), c10::Error);
    }
  }
}

TEST(CodedWeight, JoinedPartsMayBeOfDifferentCodings) {
  at::manual_seed(32);
  const StoredPart q = random_codes(Code::Q4_K, kRows, kColumns, 1), k = random_codes(Code::Q4_K, kRows, kColumns, 2),
                   v = random_codes(Code::Q6_K, kRows, kColumns, 3), half = at::randn({kRows, kColumns}).to(at::kHalf);
  for (at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    expect_product({q, k, v}, copied(compute));
    expect_product({q, k, half}, copied(compute));
    const uint64_t q4 = kRows * kColumns / 256 * 144, q6 = kRows * kColumns / 256 * 210;
    EXPECT_EQ(weight_of({q, k, v}, copied(compute)).bytes(), 2 * q4 + q6);
    EXPECT_EQ(weight_of({q, k, half}, copied(compute)).bytes(),
              2 * q4 + uint64_t(kRows * kColumns) * c10::elementSize(compute));
  }
  EXPECT_THROW(weight_of({q, k, v}, mapped()), std::logic_error);
}

TEST(CodedWeight, WhatIsNoLinearIsWidened) {
  const StoredPart matrix = random_codes(Code::Q8_0, 2, 64, 4);
  for (const Place& place : {mapped(), copied(at::kBFloat16)}) {
    const Weight weight({{"table", {2, 64}}}, Role::Float32, {}, place, {matrix});
    EXPECT_TRUE(weight.tensor().equal(values_of(matrix, kernels::default_context())));
    EXPECT_EQ(weight.bytes(), 2u * 64 * 4);
  }
  // Floats of 8 bits are in no sum with others.
  const Tensor bias = at::randn({64}).to(at::kFloat8_e4m3fn);
  const Weight wide({{"bias", {64}}}, Role::Float32, {}, mapped(), {bias});
  EXPECT_TRUE(wide.tensor().equal(bias.to(at::kFloat)));
  EXPECT_EQ(wide.bytes(), 64u * 4);
}

TEST(CodedWeight, ATableGivesItsRows) {
  const TemporaryFolder folder;
  const Tensor values = at::randn({40, 256});
  write_safetensors(folder / "table.safetensors", {{"weight", values}});
  const Checkpoint plain = Checkpoint::open(folder / "table.safetensors");
  for (Code code : {Code::Q4_K, Code::Q8_0, Code::E4M3}) {
    const CodedMatrix codes = random_codes(code, 40, 256, 5);
    Weights weights(coded_checkpoint(
                        plain, folder / "codes", [](const std::string&) { return true; },
                        [&](const std::string&, const Tensor&) { return codes; }),
                    Place::on(at::Device(at::kCUDA, 0), at::kBFloat16));
    const Embedding table(weights.root(), 40, 256);
    EXPECT_EQ(table.weight.bytes(), 0u);
    const std::vector<int64_t> ids = {3, 39, 0, 3};
    const Tensor all = values_of(StoredPart(codes), kernels::default_context());
    EXPECT_TRUE(table(ids, at::kCPU, at::kFloat).equal(all.index_select(0, at::tensor(ids))));
    EXPECT_TRUE(table(ids, at::kCPU, at::kBFloat16).equal(all.index_select(0, at::tensor(ids)).to(at::kBFloat16)));
    EXPECT_THROW(table({40}, at::kCPU, at::kFloat), c10::Error);
  }
}

TEST(CodedWeight, WhatIsMadeAtUseIsWhatACopyIs) {
  at::manual_seed(35);
  const StoredPart floats = at::randn({kRows, kColumns}), coded = random_codes(Code::Q5_K, kRows, kColumns, 6);
  const Tensor x = at::randn({7, kColumns});
  for (const StoredPart& part : {floats, coded})
    for (Kept kept : {Kept::Fp8, Kept::Int8, Kept::Bf16}) {
      const Weight at_use = weight_of({part}, mapped(kept)), copy = weight_of({part}, copied(at::kFloat, kept));
      ASSERT_TRUE(std::holds_alternative<MadeAtUse>(at_use.storage()));
      EXPECT_EQ(at_use.bytes(), 0u);
      EXPECT_EQ(at_use.shape(), copy.shape());
      const Tensor want = product(x, copy, {}, Activation::None, at::kFloat);
      EXPECT_TRUE(product(x, at_use, {}, Activation::None, at::kFloat).equal(want));
      const double error = relative_rms(want, at::linear(x, values_of(part, kernels::default_context())));
      EXPECT_GT(error, 1e-4);
      EXPECT_LT(error, kept == Kept::Fp8 ? 0.03 : kept == Kept::Int8 ? 0.01 : 0.004);
      const uint64_t elements = kRows * kColumns;
      EXPECT_EQ(copy.bytes(), kept == Kept::Bf16 ? 2 * elements : elements + 4 * kRows);
      EXPECT_EQ(weight_of({part}, copied(at::kFloat, kept).planned()).bytes(), copy.bytes());
    }
}

TEST(CodedWeight, CodesOfTheAskedBitsStayAsTheyAre) {
  const StoredPart fp8 = random_codes(Code::E4M3, kRows, kColumns, 1),
                   int8 = random_codes(Code::Int8, kRows, kColumns, 2),
                   q8 = random_codes(Code::Q8_0, kRows, kColumns, 3);
  const auto keeps = [](const StoredPart& part, Kept kept, Role role) {
    const Weight weight = weight_of({part}, copied(at::kFloat, kept), role);
    const InCodes* codes = std::get_if<InCodes>(&weight.storage());
    return codes && codes->parts[0].codes->codes.equal(part.codes->codes);
  };
  EXPECT_TRUE(keeps(fp8, Kept::Fp8, Role::Block));
  EXPECT_FALSE(keeps(fp8, Kept::Int8, Role::Block));
  EXPECT_TRUE(keeps(int8, Kept::Int8, Role::Block));
  EXPECT_FALSE(keeps(q8, Kept::Int8, Role::Block));
  // Outside of the blocks files keep what they have, and what the reference computes in float32 is never rounded.
  EXPECT_TRUE(keeps(q8, Kept::Fp8, Role::Matmul));
  EXPECT_FALSE(keeps(q8, Kept::Bf16, Role::Matmul));
  EXPECT_TRUE(keeps(q8, Kept::Bf16, Role::Float32));
}

/// A layer in int8 as a file of ComfyUI has it: codes, their scale and a description. `order`: of the rotation, or 0.
StoredPart int8_of_file(const std::filesystem::path& file, const Tensor& codes, const Tensor& scale, int64_t order) {
  std::string mark = R"({"format": "int8_tensorwise"})";
  if (order)
    mark = R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": )" + std::to_string(order) + "}";
  write_safetensors(file, {{"layer.bias", at::zeros({kRows})},
                           {"layer.comfy_quant", at::tensor(std::vector<uint8_t>(mark.begin(), mark.end()))},
                           {"layer.weight", codes},
                           {"layer.weight_scale", scale}});
  return stored_part(Checkpoint::open(file), "layer.weight");
}

TEST(CodedWeight, Int8RowsOfAFileAreMultipliedAsTheyAre) {
  at::manual_seed(11);
  const TemporaryFolder folder;
  Place balanced = copied();
  balanced.precision = Precision::Balanced;
  const Tensor codes = at::randint(-128, 128, {kRows, kColumns}, at::kChar);
  const Tensor rows_scale = at::rand({kRows, 1}) + 0.5;
  for (const Tensor& scale : {rows_scale, at::full({}, 0.25f), at::full({1}, 0.25f), at::full({1, 1}, 0.25f)}) {
    SCOPED_TRACE(testing::Message() << scale.sizes());
    const StoredPart part = int8_of_file(folder / "own.safetensors", codes, scale, 256);
    const Weight weight = weight_of({part, part}, balanced);
    const auto& rows = std::get<Int8Rows>(weight.storage()).rows;
    const Tensor want = scale.flatten().expand({kRows}).repeat({2});
    EXPECT_TRUE(at::equal(rows.codes, at::cat({codes, codes})));
    EXPECT_TRUE(at::equal(rows.scale, want));
    // What is streamed to a device is not made: it lies in the file.
    const Form form{Residence::Copied, Codes::Int8, at::kCPU, at::kFloat, at::kFloat};
    for (const HostPart& host : host_parts(form, {part, part}, kernels::default_context())) {
      ASSERT_EQ(host.in_file.size(), 2u);
      EXPECT_EQ(host.in_file[0].const_data_ptr(), part.codes->codes.const_data_ptr());
      EXPECT_TRUE(at::equal(host.in_file[1], want.narrow(0, 0, kRows)));
    }
  }
  // Rows that are rotated in another way are quantised from their values.
  for (const int64_t order : {0, 64})
    for (const Tensor& scale : {rows_scale, at::full({}, 0.25f)}) {
      const StoredPart part = int8_of_file(folder / "other.safetensors", codes, scale, order);
      const Weight weight = weight_of({part}, balanced);
      const kernels::QuantisedRows want = kernels::quantise_rows(values_of({part}).to(at::kFloat));
      EXPECT_TRUE(at::equal(std::get<Int8Rows>(weight.storage()).rows.codes, want.codes)) << order;
    }
}

}  // namespace
}  // namespace wan
