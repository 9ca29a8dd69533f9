#include "tools/mlperf/settings.h"

#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace wan::mlperf {
namespace {

constexpr int64_t kLatentChannels = 16, kFramesOfALatent = 4, kPixelsOfALatent = 8, kPixelsOfAToken = 16;

template <typename Number>
std::string text_of(Number value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string trimmed(const std::string& line) {
  constexpr const char* kBlanks = " \t\r\n";
  const size_t first = line.find_first_not_of(kBlanks);
  return first == std::string::npos ? "" : line.substr(first, line.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

std::string Settings::shape() const {
  return std::to_string(width) + "x" + std::to_string(height) + ", " + std::to_string(frames) + " frames, " +
         std::to_string(steps) + " steps";
}

std::string Settings::label() const {
  return shape() + (scenario == Scenario::Offline ? ", offline" : ", single stream");
}

std::array<int64_t, 4> Settings::latent_shape() const {
  return {kLatentChannels, (frames - 1) / kFramesOfALatent + 1, height / kPixelsOfALatent, width / kPixelsOfALatent};
}

int64_t Settings::tokens() const {
  return latent_shape()[1] * (height / kPixelsOfAToken) * (width / kPixelsOfAToken);
}

void Settings::check() const {
  const auto refuse = [](const std::string& what, const std::string& wants, auto got) {
    throw std::invalid_argument("[" + what + "] must be " + wants + ", got " + text_of(got));
  };
  for (const auto& [name, value] : {std::pair{"width", width}, {"height", height}})
    if (value < kPixelsOfAToken || value % kPixelsOfAToken != 0)
      refuse(name, "a multiple of 16 pixels, at least 16", value);
  if (frames < 1 || frames % kFramesOfALatent != 1) refuse("frames", "4n + 1, as 81", frames);
  if (steps < 1) refuse("steps", "at least 1", steps);
  for (const auto& [name, value] :
       {std::pair{"guidance", guidance}, {"guidance-2", guidance_2}, {"boundary", boundary}})
    if (!std::isfinite(value)) refuse(name, "a finite number", value);
  if (!(shift > 0) || !std::isfinite(shift)) refuse("shift", "above 0", shift);
}

Schedule schedule_of(const Settings& settings) {
  Request request;
  request.task = Task::T2V;
  request.solver = settings.solver;
  request.num_inference_steps = settings.steps;
  request.shift = settings.shift;
  request.guidance_scale = settings.guidance;
  request.guidance_scale_2 = settings.guidance_2;
  request.boundary = settings.boundary;
  return make_schedule(request);
}

std::vector<std::string> differences(const Settings& settings) {
  const Settings official;
  std::vector<std::string> found;
  const auto compare = [&](const char* name, double got, double want) {
    if (got != want) found.push_back(std::string(name) + " " + text_of(got) + " in place of " + text_of(want));
  };
  compare("width", double(settings.width), double(official.width));
  compare("height", double(settings.height), double(official.height));
  compare("frames", double(settings.frames), double(official.frames));
  compare("steps", double(settings.steps), double(official.steps));
  compare("guidance", settings.guidance, official.guidance);
  compare("guidance of the low-noise expert", settings.guidance_2, official.guidance_2);
  compare("boundary", settings.boundary, official.boundary);
  if (settings.solver != official.solver)
    found.push_back("solver " + settings.solver + " in place of " + official.solver);
  return found;
}

std::vector<std::string> read_prompts(const std::string& file) {
  std::ifstream in(file);
  if (!in)
    throw std::invalid_argument("[prompts] must be a file with a prompt on each line; " + file + " cannot be read");
  std::vector<std::string> prompts;
  for (std::string line; std::getline(in, line);)
    if (std::string prompt = trimmed(line); !prompt.empty()) prompts.push_back(std::move(prompt));
  if (prompts.empty()) throw std::invalid_argument("[prompts] must hold at least one prompt; " + file + " holds none");
  return prompts;
}

std::string vbench_name(const std::string& prompt) {
  constexpr size_t kMost = 240;  // a name has 255 bytes on most file systems
  std::string name = prompt;
  for (char& c : name)
    if (c == '/' || static_cast<unsigned char>(c) < 32) c = '_';
  if (name.size() > kMost) {
    size_t end = kMost;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;  // not inside of a character
    name.resize(end);
  }
  return name + "-0";
}

}  // namespace wan::mlperf
