// The text encoder from ids: states and intermediates in float32 and float64, the states in bf16 as well.
#include <gtest/gtest.h>

#include "models/umt5/encoder.h"
#include "tests/parity/case.h"
#include "tests/parity/device.h"

namespace wan::parity {
namespace {

using at::Tensor;

/// Longest prompt in tokens, to which the reference pads.
constexpr int64_t kLength = 512;

std::vector<int64_t> ids_of(const Tensor& ids) {
  Tensor row = ids.contiguous();
  return {row.data_ptr<int64_t>(), row.data_ptr<int64_t>() + row.numel()};
}

void check_prompt(Case& golden, const std::string& prefix, const Umt5Encoder& encoder,
                  const std::vector<int64_t>& ids) {
  const int64_t tokens = std::ssize(ids);
  golden.expect(prefix + "out", encoder(ids));
  Tensor x = encoder.embed(ids);
  golden.expect(prefix + "embedding", x[0]);
  for (size_t i = 0; i < encoder.blocks.size(); ++i) {
    const Umt5Block& block = encoder.blocks[i];
    std::string name = prefix + "block" + std::to_string(i);
    Tensor bias = block.bias(tokens, tokens), normed = block.norm1(x);
    golden.expect(name + "_norm1", normed[0]);
    golden.expect(name + "_attn", block.attn(normed, bias)[0]);
    x = block(x, bias);
    golden.expect(name, x[0]);
  }
  if (!golden.has(prefix + "out_full_padding_rows")) return;
  Tensor padded = encoder.padded(ids, kLength);
  int64_t rows = golden.tensors.at(prefix + "out_full_padding_rows").size(0);
  golden.expect(prefix + "out_full_padding_rows", padded.narrow(0, tokens, rows));
  golden.expect(prefix + "out", padded.narrow(0, 0, tokens));
}

/// The tables of relative positions, read out of the bias of a length that holds every offset.
void check_positions(Case& golden, const Umt5Encoder& encoder) {
  if (!golden.has("relpos.offset")) return;
  Tensor offset = golden.input("relpos.offset"), query = (-offset).clamp_min(0);
  std::vector<int64_t> buckets;
  for (int64_t distance : ids_of(offset)) buckets.push_back(umt5_bucket(distance));
  golden.expect("relpos.bucket", at::tensor(buckets, at::kLong));
  const int64_t length = offset.abs().max().item<int64_t>() + 1;
  std::vector<Tensor> layers;
  for (const Umt5Block& block : encoder.blocks)
    layers.push_back(block.bias(length, length).index({at::indexing::Slice(), query, query + offset}));
  golden.expect("relpos.bias", at::stack(layers));
}

std::filesystem::path weights_of(const Case& golden) {
  return golden.checkpoint() / "models_t5_umt5-xxl-enc-bf16.pth";
}

void run_case(Case& golden) {
  auto prompts = [&](auto check) {
    for (size_t i = 0; i < golden.json["prompts"].size(); ++i) {
      std::string prefix = "p" + std::to_string(i) + ".";
      check(prefix, ids_of(golden.input(prefix + "ids")));
    }
  };
  for (const Setting& setting : exact_settings()) {
    SCOPED_TRACE(setting.name);
    Umt5Encoder encoder = build<Umt5Encoder>(weights_of(golden), setting);
    prompts([&](const std::string& prefix, const std::vector<int64_t>& ids) {
      check_prompt(golden, prefix, encoder, ids);
    });
    check_positions(golden, encoder);
  }
  for (const Setting& setting : rounded_settings()) {
    SCOPED_TRACE(setting.name);
    Umt5Encoder encoder = build<Umt5Encoder>(weights_of(golden), setting);
    prompts([&](const std::string& prefix, const std::vector<int64_t>& ids) {
      golden.expect_bf16(prefix + "out", encoder(ids));
    });
  }
}

bool takes(const Case& golden) {
  return golden.json.contains("prompts");
}

}  // namespace

const Handler kTextEncoder = {"text encoder", takes, run_case};

}  // namespace wan::parity
