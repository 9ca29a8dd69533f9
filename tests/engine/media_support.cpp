#include "tests/engine/media_support.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include "models/checkpoint.h"

namespace wan {

std::string media_file(const std::string& name) {
  return WAN_SOURCE_DIR "/tests/golden/media/" + name;
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

namespace {

const Checkpoint& goldens() {
  static const Checkpoint loaded = Checkpoint::open(media_file("expected.safetensors"));
  return loaded;
}

}  // namespace

at::Tensor expected(const std::string& name) {
  return goldens().map(name);
}

std::vector<std::string> expected_names(const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& [name, stored] : goldens().tensors()) {
    if (name.compare(0, prefix.size(), prefix) == 0) names.push_back(name.substr(prefix.size()));
  }
  return names;
}

at::Tensor moving_picture(int64_t frames, int64_t height, int64_t width) {
  at::Tensor t = at::arange(frames).view({-1, 1, 1}), y = at::arange(height).view({1, -1, 1});
  at::Tensor x = at::arange(width).view({1, 1, -1});
  auto wave = [](const at::Tensor& phase) { return ((phase * (2 * M_PI)).sin() * 100 + 128).to(at::kByte); };
  at::Tensor flow = t * 0.02, across = x.to(at::kFloat) / double(width), down = y.to(at::kFloat) / double(height);
  return at::stack({wave(across + flow + down * 0), wave(down - flow + across), wave(across * 0.5 - flow + down * 0.7)},
                   -1);
}

double decibels(const at::Tensor& got, const at::Tensor& want) {
  double error = (got.to(at::kDouble) - want.to(at::kDouble)).square().mean().item<double>();
  return error == 0 ? 200 : 10 * std::log10(255.0 * 255.0 / error);
}

}  // namespace wan
