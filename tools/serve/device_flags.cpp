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

/// How many of a folder's entries have such a name.
template <class Function>
size_t count_in(const char* folder, Function is_wanted) {
  size_t count = 0;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed))
    if (is_wanted(at->path().filename().string())) ++count;
  return count;
}

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

/// The worker of a card that is not there would be started again and again.
void check_cards(FlagWords& words, const Settings& settings, const std::string& flag) {
  const std::vector<std::string> cards = cuda_devices();
  if (cards.empty())
    return words.fail(flag, "must be cards of this machine, and none is found; --device cpu works without one");
  std::error_code ignored;  // WSL2 does not say how many there are
  if (fs::exists("/dev/dxg", ignored) && !fs::exists("/proc/driver/nvidia/gpus", ignored)) return;
  for (const std::string& device : settings.devices)
    if (std::find(cards.begin(), cards.end(), device) == cards.end())
      return words.fail(flag, "must be cards of this machine, from cuda:0 to " + cards.back() + ", got " + device);
}

}  // namespace

std::vector<std::string> cuda_devices() {
  size_t count = count_in("/proc/driver/nvidia/gpus", [](const std::string&) { return true; });
  // In containers that do not show it.
  if (count == 0)
    count = count_in("/dev",
                     [](const std::string& name) { return name.starts_with("nvidia") && is_number(name.substr(6)); });
  std::error_code failed;
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
    settings.devices = {device == "cpu" ? device : "cuda:" + std::to_string(std::stoi(number))};
    if (device != "cpu") check_cards(words, settings, "--device");
  } else if (words.has("--gpus")) {
    const size_t errors = words.errors.size();
    if (gpus == "all")
      settings.devices = cuda_devices();
    else
      read_gpus(words, settings, gpus);
    if (words.errors.size() == errors) check_cards(words, settings, "--gpus");
  } else {
    settings.devices = cuda_devices();
    if (settings.devices.empty()) settings.devices = {"cpu"};
    settings.devices.resize(1);
  }
}

}  // namespace wan
