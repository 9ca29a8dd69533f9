#include "engine/residency/machine.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/base/units.h"

namespace wan {

namespace {

constexpr double kDefaultDisk = 2e9;  // a solid-state disk behind PCIe 3
/// One thread that copies ordinary memory into a pinned ring.
constexpr double kPageable = 8e9;
constexpr uint64_t kLeastCard = 1'000'000'000, kMostMemory = 10'000'000'000'000;
constexpr uint64_t kLeastHost = 1'000'000'000;
constexpr double kLeastRate = 1e6, kMostRate = 10e12;

std::string card_names() {
  std::vector<std::string> names;
  for (const Card& card : known_cards()) names.push_back(card.name);
  return either(names);
}

void check_size(const char* field, const std::string& text, uint64_t least, std::vector<FieldError>& errors) {
  if (text.empty()) return;
  const std::optional<uint64_t> size = read_size(text);
  if (size && *size >= least && *size <= kMostMemory) return;
  errors.push_back({field,
                    "must be a size from " + gigabytes(least) + " to 10 TB, got " + shown(text) +
                        "; 24GB is 24 * 10^9 bytes, 24GiB is 24 * 2^30",
                    "value_error", "", text});
}

void check_rate(const char* field, const std::string& text, const char* example, std::vector<FieldError>& errors) {
  if (text.empty()) return;
  const std::optional<double> rate = read_rate(text);
  if (rate && *rate >= kLeastRate && *rate <= kMostRate) return;
  errors.push_back(
      {field, "must be a speed from 1MB/s to 10TB/s, got " + shown(text) + "; " + example, "value_error", "", text});
}

void check_gpu(const std::string& text, std::vector<FieldError>& errors) {
  if (text.empty() || card_named(text)) return;
  if (read_size(text)) return check_size("gpu", text, kLeastCard, errors);
  errors.push_back(
      {"gpu", "must be a size such as 24GB, or " + card_names() + ", got " + shown(text), "value_error", "", text});
}

void set_rates(Machine& machine, const Card& card) {
  machine.linear = card.tflops16 * 1e12 * card.linear_share;
  machine.linear8 = card.tflops8 * 1e12 * card.linear_share;
  machine.attention = card.tflops16 * 1e12 * card.attention_share;
  machine.bandwidth = card.bandwidth * 1e9;
}

}  // namespace

uint64_t budget_of(uint64_t free, bool has_display) {
  const uint64_t margin = free / 20 + (has_display ? 1'500'000'000 : 700'000'000);
  return free - std::min(free, margin);
}

void set_link(Machine& machine, double rate) {
  machine.link = rate;
  machine.link_pageable = std::min(rate, kPageable);
}

void take_card(Machine& machine, const Card& card) {
  machine.device = card.name;
  machine.is_card = true;
  set_rates(machine, card);
  set_link(machine, card.link * 1e9);
}

void set_host(Machine& machine, uint64_t available) {
  machine.host_available = available;
  machine.host_pinnable = available / 2;
}

void check_words(const MachineWords& words) {
  std::vector<FieldError> errors;
  check_gpu(words.gpu, errors);
  check_size("host", words.host, kLeastHost, errors);
  check_rate("link", words.link, "25GB/s is what PCIe 4 with 16 lanes reaches", errors);
  check_rate("disk", words.disk, "3GB/s is what a disk on PCIe 3 reaches", errors);
  if (!errors.empty()) throw InvalidRequest(errors);
}

Machine described(const MachineWords& words, const Machine& probed) {
  check_words(words);
  Machine machine = probed;
  if (!words.gpu.empty()) {
    const Card* named = card_named(words.gpu);
    const Card& card = named ? *named : card_of_size(*read_size(words.gpu));
    take_card(machine, card);
    machine.device_total = named ? named->memory() : *read_size(words.gpu);
    machine.device_free = machine.device_total;
    machine.has_display = false;
    machine.budget = budget_of(machine.device_total, false);
    machine.assumed.clear();
    if (!named) {
      machine.device = "card of " + gigabytes(machine.device_total);
      machine.assumed.push_back("the card computes as fast as " + std::string(card.name) + "; --gpu takes a name, too");
    }
    if (words.link.empty())
      machine.assumed.push_back("the link carries " + rate_text(machine.link) + "; --link says otherwise");
  }
  machine.described = words.any();
  if (!words.host.empty()) set_host(machine, *read_size(words.host));
  if (!words.link.empty()) set_link(machine, *read_rate(words.link));
  if (!words.disk.empty())
    machine.disk = *read_rate(words.disk);
  else if (machine.disk <= 0)
    machine.disk = kDefaultDisk;
  if (words.disk.empty())
    machine.assumed.push_back("the disk reads " + rate_text(machine.disk) + "; --disk says otherwise");
  return machine;
}

}  // namespace wan
