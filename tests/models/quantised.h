// What the tests of quantised checkpoints share: codes by their definition, and small files.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <string>

#include "models/weights/checkpoint.h"
#include "tests/support.h"

namespace wan::quantised {

using Tensors = std::map<std::string, at::Tensor>;
using Metadata = std::map<std::string, std::string>;

/// One code each, by the definitions of OCP's MX specification; the first has no NaN here.
float e4m3(uint8_t code);
float e5m2(uint8_t code);
float e2m1(int code);
float e8m0(uint8_t code);

/// Random bytes of which none is a NaN or infinity in E4M3 or E5M2; the same for equal `seed`.
at::Tensor bytes(at::IntArrayRef shape, uint64_t seed);
/// Positive floats from 0.5 to 2.
at::Tensor scales(at::IntArrayRef shape, uint64_t seed);
/// A scalar of shape [].
at::Tensor scalar(double value, at::ScalarType dtype = at::kFloat);
/// The bytes of a text.
at::Tensor text(const std::string& words);

/// value(row, column) of a matrix.
at::Tensor matrix(int64_t rows, int64_t columns, const std::function<float(int64_t, int64_t)>& value);
/// The number of the byte at which a scale stands where scales of [rows, columns] lie in tiles of 128 x 4.
int64_t tiled(int64_t row, int64_t column, int64_t columns);

/// A file or folder of a test.
class Files {
 public:
  std::filesystem::path path(const std::string& name = "model.safetensors") const { return folder_ / name; }
  const std::filesystem::path& folder() const { return folder_.path(); }
  Files& write(const Tensors& tensors, const Metadata& metadata = {}, const std::string& name = "model.safetensors");
  Files& write_text(const std::string& name, const std::string& words);
  Checkpoint open() const { return Checkpoint::open(path()); }

 private:
  TemporaryFolder folder_;
};

/// refusal_of (tests/support/checkpoint_files.h) a file with these tensors.
std::string refusal(const Tensors& tensors, const Metadata& metadata = {});

}  // namespace wan::quantised
