#include "tests/models/quantised.h"
#include "tests/support/checkpoint_files.h"

#include <cmath>
#include <cstring>
#include <fstream>

#include "models/files/error.h"
#include "models/weights/format/safetensors.h"

namespace wan::quantised {

float e4m3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double size = exponent ? std::ldexp(8 + mantissa, exponent - 10) : std::ldexp(mantissa, -9);
  return float(code & 128 ? -size : size);
}

float e5m2(uint8_t code) {
  const int exponent = code >> 2 & 31, mantissa = code & 3;
  const double size = exponent ? std::ldexp(4 + mantissa, exponent - 17) : std::ldexp(mantissa, -16);
  return float(code & 128 ? -size : size);
}

float e2m1(int code) {
  constexpr float kSizes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return code & 8 ? -kSizes[code & 7] : kSizes[code & 7];
}

float e8m0(uint8_t code) {
  return float(std::ldexp(1, code - 127));
}

at::Tensor bytes(at::IntArrayRef shape, uint64_t seed) {
  std::mt19937_64 random(seed);
  const at::Tensor made = at::empty(shape, at::kByte);
  for (int64_t i = 0; i < made.numel(); ++i) {
    uint8_t code = uint8_t(random());
    if ((code & 0x7C) == 0x7C) code &= 0xBF;  // the largest exponents of both
    made.mutable_data_ptr<uint8_t>()[i] = code;
  }
  return made;
}

at::Tensor scales(at::IntArrayRef shape, uint64_t seed) {
  std::mt19937_64 random(seed);
  const at::Tensor made = at::empty(shape, at::kFloat);
  for (int64_t i = 0; i < made.numel(); ++i)
    made.mutable_data_ptr<float>()[i] = 0.5f + float(random() % 1000) * 0.0015f;
  return made;
}

at::Tensor scalar(double value, at::ScalarType dtype) {
  return at::full({}, value, dtype);
}

at::Tensor text(const std::string& words) {
  const at::Tensor made = at::empty({int64_t(words.size())}, at::kByte);
  std::memcpy(made.mutable_data_ptr(), words.data(), words.size());
  return made;
}

at::Tensor matrix(int64_t rows, int64_t columns, const std::function<float(int64_t, int64_t)>& value) {
  const at::Tensor made = at::empty({rows, columns}, at::kFloat);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      made.mutable_data_ptr<float>()[row * columns + column] = value(row, column);
  return made;
}

int64_t tiled(int64_t row, int64_t column, int64_t columns) {
  const int64_t tiles = (columns + 3) / 4, tile = row / 128 * tiles + column / 4, inside = row % 128;
  return tile * 512 + inside % 32 * 16 + inside / 32 * 4 + column % 4;
}

Files& Files::write(const Tensors& tensors, const Metadata& metadata, const std::string& name) {
  std::filesystem::create_directories(path(name).parent_path());
  write_safetensors(path(name), tensors, metadata);
  return *this;
}

Files& Files::write_text(const std::string& name, const std::string& words) {
  std::ofstream(path(name)) << words;
  return *this;
}

std::string refusal(const Tensors& tensors, const Metadata& metadata) {
  Files files;
  return refusal_of(files.write(tensors, metadata).path());
}

}  // namespace wan::quantised
