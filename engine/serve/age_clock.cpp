#include "engine/serve/age_clock.h"

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <utility>

#include "engine/base/text.h"
#include "models/files/atomic_file.h"

namespace wan::serve {
namespace {

constexpr int64_t kMinute = 60'000, kHour = 60 * kMinute, kDay = 24 * kHour;  // ms
constexpr int64_t kSame = 5 * kMinute;  // clocks that differ by less are believed: NTP sets them by less
constexpr int64_t kLongStop = kDay;     // between two processes; after a longer one the clock may have been lost
constexpr int64_t kUntilSet = kHour;    // within which a clock that was lost is set by the network
constexpr int64_t kUntilBelieved = kDay;

std::optional<int64_t> number_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string text;
  std::getline(in, text);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool good = error == std::errc() && end == text.data() + text.size();
  return good ? std::optional(number) : std::nullopt;
}

}  // namespace

AgeClock::AgeClock(Clocks clocks, std::filesystem::path file)
    : clocks_(std::move(clocks)), file_(std::move(file)), begun_wall_(clocks_.wall()), begun_boot_(clocks_.boot()) {
  const std::optional<int64_t> last = number_in(file_);
  if (!last || begun_wall_ - *last <= kLongStop) return;
  held_until_ = begun_boot_ + kUntilSet;
  held_because_ = "the clock says that the server was away for " + duration(double(begun_wall_ - *last) / 1000);
}

int64_t AgeClock::now() const {
  return begun_wall_ + clocks_.boot() - begun_boot_;
}

int64_t AgeClock::age(const std::string& name, int64_t stamp) const {
  const auto found = noted_.find(name);
  return found == noted_.end() ? now() - stamp : clocks_.boot() - found->second;
}

std::string AgeClock::doubt() {
  const int64_t boot = clocks_.boot(), by = clocks_.wall() - now();
  if (std::abs(by) <= kSame) {
    jump_.reset();
  } else if (!jump_ || std::abs(by - jump_->by) > kSame) {
    jump_ = Jump{by, boot};
  } else if (boot - jump_->since >= kUntilBelieved) {
    begun_wall_ += by;
    jump_.reset();
  }
  if (jump_)
    return "the clock was set " + std::string(jump_->by > 0 ? "forward" : "back") + " by " +
           duration(double(std::abs(jump_->by)) / 1000);
  return boot < held_until_ ? held_because_ : "";
}

void AgeClock::keep_time() const {
  AtomicFile out(file_.string());
  std::filesystem::permissions(out.part(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const std::string text = std::to_string(now()) + "\n";
  out.write(text.data(), text.size());
  out.replace();
}

}  // namespace wan::serve
