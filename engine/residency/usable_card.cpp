#include "engine/residency/usable_card.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <set>

#include "kernels/op/card_name.h"
#include "kernels/op/device.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// The oldest driver that runs programs of CUDA 13, and the oldest card that libtorch holds code for.
constexpr int kOldestDriver = 580, kOldestArchitecture = 75;
/// The oldest card that our kernels run on.
constexpr int kOldestOfKernels = 80;

/// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug ..." -> "535.104.05".
std::string driver_version(const fs::path& file) {
  std::ifstream in(file);
  std::string word;
  while (in >> word) {
    const size_t dot = word.find('.');
    if (dot != std::string::npos && dot > 0 && word.find_first_not_of("0123456789.") == std::string::npos) return word;
  }
  return "";
}

bool is_old(const std::string& driver) {
  return !driver.empty() && std::atoi(driver.c_str()) < kOldestDriver;
}

/// Whether the variable says that no card is wanted.
bool hides_all(const std::string& visible) {
  return visible.empty() || visible == "-1" || visible == "NoDevFiles" || visible == "none" || visible == "void";
}

bool names_slices(const std::string& visible) {
  return visible.find("MIG-") != std::string::npos;
}

/// A card by itself, not one of the files that several share: nvidia0, or Windows' dxg.
bool is_card_file(const std::string& name) {
  if (name == "dxg") return true;
  return name.starts_with("nvidia") && name.size() > 6 && name.find_first_not_of("0123456789", 6) == std::string::npos;
}

/// Looks at the files that CUDA opens.
void look_at_files(const fs::path& root, CardSituation& s) {
  s.lacks_files = true;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root / "dev", ignored)) {
    const std::string name = entry.path().filename().string();
    if (is_card_file(name)) s.lacks_files = false;
    if (!is_card_file(name) && name != "nvidiactl" && name != "nvidia-uvm") continue;
    const int file = open(entry.path().c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 && (errno == EACCES || errno == EPERM)) s.shut.push_back("/dev/" + name);
    if (file >= 0) close(file);
  }
  std::sort(s.shut.begin(), s.shut.end());
}

/// "DeviceFileMinor: 12" of a slice's `access` -> 12; nothing where it has none.
std::optional<int> device_file_minor(const fs::path& access) {
  std::ifstream in(access);
  std::string word;
  int minor = 0;
  while (in >> word)
    if (word == "DeviceFileMinor:") return in >> minor ? std::optional(minor) : std::nullopt;
  return std::nullopt;
}

/// Looks at the files that CUDA reads before it shows a slice: one of its instance of the card, one of its instance of
/// the arithmetic. That which configures slices is root's alone, and none of them.
void look_at_slices(const fs::path& root, CardSituation& s) {
  std::set<int> minors;
  std::error_code failed;
  fs::recursive_directory_iterator entry(root / "proc/driver/nvidia/capabilities",
                                         fs::directory_options::skip_permission_denied, failed);
  for (const fs::recursive_directory_iterator end; !failed && entry != end; entry.increment(failed)) {
    const fs::path& path = entry->path();
    if (path.filename() != "access" || path.string().find("/mig/gi") == std::string::npos) continue;
    if (const auto minor = device_file_minor(path)) minors.insert(*minor);
  }
  for (const int minor : minors) {
    const std::string name = "dev/nvidia-caps/nvidia-cap" + std::to_string(minor);
    const int file = open((root / name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file >= 0)
      close(file);
    else if (errno == EACCES || errno == EPERM)
      s.shut_slices.push_back("/" + name);
    else if (errno == ENOENT)
      s.shut_slices.push_back("/" + name + " (not there)");
  }
}

std::string comma_list(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string listed(int64_t count) {
  if (count == 1) return "there is one device, cuda:0";
  return "there are " + std::to_string(count) + " devices, cuda:0 to cuda:" + std::to_string(count - 1);
}

/// Of a driver that is here, in a build that could use it, while CUDA shows no device.
std::string why_none_is_shown(const CardSituation& s) {
  if (is_old(s.driver))
    return "the NVIDIA driver " + s.driver + " is older than " + std::to_string(kOldestDriver) +
           ", which CUDA 13 needs; update the driver, or take --device cpu";
  const std::string here = "an NVIDIA driver is here" + (s.driver.empty() ? "" : " (" + s.driver + ")");
  if (!s.shut.empty())
    return here + ", but this user may not open " + comma_list(s.shut) +
           "; `ls -l` names the group that may: join it (sudo usermod -aG GROUP USER, then log in anew), or take "
           "--device cpu";
  if (!s.shut_slices.empty() && (!s.visible || names_slices(*s.visible)))
    return here + ", but this user cannot read " + comma_list(s.shut_slices) +
           ", which CUDA wants for slices of a card (MIG)" +
           (s.visible ? ", and CUDA_VISIBLE_DEVICES names one ('" + *s.visible + "')" : "") +
           "; `ls -l` shows who may, a container wants the slice by --gpus, nvidia-smi -L lists the slices; or take "
           "--device cpu";
  if (s.visible && !s.visible->empty())
    return "CUDA_VISIBLE_DEVICES is '" + *s.visible + "', which names no " +
           (names_slices(*s.visible) ? "slice of a card (MIG)" : "card") +
           " of this machine; give it numbers or names of nvidia-smi -L, or unset it, or take --device cpu";
  if (s.lacks_files)
    return here +
           ", but no /dev/nvidia0; a container wants --gpus all (and NVIDIA's container toolkit), or take --device cpu";
  return here +
         ", but CUDA shows no card: nvidia-smi says whether the driver works, and whether a card that is to be cut "
         "into "
         "slices (MIG) has any; --device cpu computes without a card";
}

}  // namespace

CardSituation card_situation(const fs::path& root) {
  CardSituation s;
  const at::CUDAHooksInterface& hooks = at::detail::getCUDAHooks();
  s.built = hooks.hasCUDART();
  s.usable = hooks.hasCUDA() ? hooks.deviceCount() : 0;
  std::error_code ignored;
  const fs::path linux_driver = root / "proc/driver/nvidia/version";
  s.has_driver = fs::exists(linux_driver, ignored) ||
                 (fs::exists(root / "dev/dxg", ignored) && fs::exists(root / "usr/lib/wsl/lib/libcuda.so.1", ignored));
  s.driver = driver_version(linux_driver);
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) s.visible = visible;
  if (s.usable == 0 && s.has_driver) {
    look_at_files(root, s);
    look_at_slices(root, s);
  }
  return s;
}

std::optional<std::string> why_no_card(const std::string& asked, const CardSituation& s) {
  const bool any = asked == "auto";
  if (s.usable > 0) {
    const int64_t index = asked.starts_with("cuda:") ? std::atoll(asked.c_str() + 5) : 0;
    if (index < s.usable) return std::nullopt;
    const std::string there = "asks for " + asked + ", but " + listed(s.usable);
    if (!s.visible) return there;
    if (names_slices(*s.visible))
      return there + ": of the slices in CUDA_VISIBLE_DEVICES ('" + *s.visible + "') a program sees the first alone";
    return there + "; CUDA_VISIBLE_DEVICES is '" + *s.visible + "' and numbers them anew";
  }
  const std::string begin = any ? "is auto, and " : "asks for " + asked + ", but ";
  const bool hidden = s.visible && hides_all(*s.visible);
  if (any && (!s.has_driver || !s.built || hidden)) return std::nullopt;
  if (!s.built) return begin + "this build has no CUDA part of libtorch; build with ./run --cuda, or use cpu";
  if (hidden) return begin + "CUDA_VISIBLE_DEVICES is '" + *s.visible + "' and hides every card; unset it, or use cpu";
  if (!s.has_driver) return begin + "no usable NVIDIA device or driver is here; use cpu";
  return begin + why_none_is_shown(s);
}

std::optional<std::string> why_too_old(int architecture) {
  if (architecture == 0 || architecture >= kOldestArchitecture) return std::nullopt;
  return "takes a card of compute capability " + std::to_string(architecture / 10) + "." +
         std::to_string(architecture % 10) +
         ", and libtorch for CUDA 13 holds code for 7.5 and newer; use another card, or "
         "--device cpu";
}

int64_t chosen_card(const std::vector<int>& architectures) {
  for (int wanted : {kOldestOfKernels, kOldestArchitecture})
    for (size_t card = 0; card < architectures.size(); ++card)
      if (architectures[card] >= wanted) return int64_t(card);
  return 0;
}

std::optional<std::string> card_note(const std::string& asked, int64_t taken, const std::vector<std::string>& names) {
  if (names.size() < 2 || asked.find(':') != std::string::npos) return std::nullopt;
  const auto named = [&](size_t card) {
    const std::string device = "cuda:" + std::to_string(card);
    return names[card].empty() ? device : device + " (" + names[card] + ")";
  };
  std::vector<std::string> others;
  for (size_t card = 0; card < names.size(); ++card)
    if (int64_t(card) != taken) others.push_back(named(card));
  return "of " + std::to_string(names.size()) + " cards " + named(size_t(taken)) +
         " is taken; --device takes another: " + comma_list(others) +
         ". CUDA counts from the fastest card, nvidia-smi by bus (CUDA_DEVICE_ORDER=PCI_BUS_ID: CUDA, too)";
}

void tell_card(const std::string& asked, const Placement& placement, const Log& log) {
  if (!placement.device.is_cuda()) return;
  std::vector<std::string> names;
  for (int64_t card = 0; card < at::detail::getCUDAHooks().deviceCount(); ++card)
    names.push_back(kernels::cuda::card_name(at::Device(at::kCUDA, at::DeviceIndex(card))));
  if (const auto text = card_note(asked, placement.device.index(), names))
    log("note", {{"subject", "device"}, {"text", *text}});
}

std::optional<std::string> precision_warning(Precision precision, int architecture, bool uses_wgmma) {
  const bool lower = precision == Precision::Balanced || precision == Precision::Fast;
  if (!lower || architecture != 90 || uses_wgmma) return std::nullopt;
  const std::string name = precision == Precision::Fast ? "fast" : "balanced";
  return "precision " + name +
         " is estimated slower than exact on this card: 13 to 15 s a forward at 720p in place of 10.5 s, "
         "since its kernels use mma.sync. WAN_WGMMA=on takes those with wgmma, which have not been measured on a card "
         "yet";
}

void warn_of_precision(const Placement& placement, const Log& log) {
  if (!placement.device.is_cuda()) return;
  const bool uses_wgmma =
      kernels::cuda::instructions_on(placement.device, *placement.context) == kernels::Instructions::Wgmma;
  if (const auto text =
          precision_warning(placement.precision, kernels::cuda::architecture(placement.device), uses_wgmma))
    log("warning", {{"text", *text}});
}

double mig_share(const std::string& name) {
  const size_t at = name.find(" MIG ");
  if (at == std::string::npos) return 1;
  const int slices = std::atoi(name.c_str() + at + 5);
  const int all = name.find("A30") != std::string::npos ? 4 : 7;
  return slices > 0 && slices <= all ? double(slices) / all : 1;
}

Card slice_of(Card card, double share) {
  for (double* rate : {&card.tflops16, &card.tflops8, &card.bandwidth}) *rate *= share;
  return card;
}

}  // namespace wan
