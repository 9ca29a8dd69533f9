#include "engine/residency/machine.h"

#include <algorithm>
#include <optional>

#include "engine/base/text.h"
#include "engine/base/units.h"

namespace wan {

namespace {

constexpr double kDefaultDisk = 2e9;  // a solid-state disk behind PCIe 3
/// One thread that copies ordinary memory into a pinned ring.
constexpr double kPageable = 8e9;
constexpr uint64_t kRing = 256 << 20;

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

HostShare host_share(const Machine& machine) {
  HostShare share;
  share.ring = machine.is_card ? std::min(kRing, machine.host_pinnable) : 0;
  share.images = machine.host_available - std::min(machine.host_available, kProgramBytes + share.ring);
  share.pinnable = machine.host_pinnable - share.ring;
  return share;
}

void limit_budget(Machine& machine, uint64_t allowed) {
  machine.allowed = allowed;
  if (allowed >= machine.budget) return;
  machine.budget = allowed;
  machine.budget_field = "device_memory";
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
    machine.has_display = machine.stands_in = false;
    machine.budget_field = "memory";
    machine.allowed = UINT64_MAX;
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
