// On which devices the server's workers compute.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "engine/base/text.h"
#include "tools/serve/flag_sections.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using serve::Settings;

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= 3 && text.find_first_not_of("0123456789") == text.npos;
}

void read_gpus(FlagWords& words, Settings& settings, const std::string& text) {
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string number = text.substr(at, end - at);
    const std::string device = is_number(number) ? "cuda:" + std::to_string(std::stoi(number)) : "";
    std::vector<std::string>& devices = settings.devices;
    if (device.empty() || std::find(devices.begin(), devices.end(), device) != devices.end())
      return words.fail("--gpus", "must be all, or different numbers like 0,1, got " + shown(text));
    devices.push_back(device);
    at = end + 1;
  }
}

}  // namespace

std::vector<std::string> cuda_devices() {
  size_t count = 0;
  std::error_code failed;
  for (fs::directory_iterator at("/proc/driver/nvidia/gpus", failed), end; !failed && at != end; at.increment(failed))
    ++count;
  if (count == 0 && fs::exists("/dev/dxg", failed)) count = 1;  // WSL2
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    const std::string text = visible;
    const size_t named = text.empty() || text == "-1" ? 0 : size_t(std::count(text.begin(), text.end(), ',')) + 1;
    count = std::min(count, named);
  }
  std::vector<std::string> devices;
  for (size_t i = 0; i < count; ++i) devices.push_back("cuda:" + std::to_string(i));
  return devices;
}

void read_devices(FlagWords& words, Settings& settings) {
  const std::string gpus = words.text("--gpus"), device = words.text("--device");
  if (words.has("--gpus") && words.has("--device"))
    return words.fail("--device", "names one device, and --gpus several; give one of them");
  if (words.has("--device")) {
    const std::string number = device.starts_with("cuda:") ? device.substr(5) : "0";
    if ((device != "cpu" && device != "cuda" && !device.starts_with("cuda:")) || !is_number(number))
      return words.fail("--device", "must be cpu, cuda or cuda:N, got " + shown(device));
    settings.devices = {device == "cuda" ? "cuda:0" : device};
  } else if (gpus == "all") {
    settings.devices = cuda_devices();
    if (settings.devices.empty())
      words.fail("--gpus", "must be cards of this machine, and none is found; --device cpu works without one");
  } else if (words.has("--gpus")) {
    read_gpus(words, settings, gpus);
  } else {
    settings.devices = cuda_devices();
    if (settings.devices.empty()) settings.devices = {"cpu"};
    settings.devices.resize(1);
  }
}

}  // namespace wan
