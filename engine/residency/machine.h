// What a plan knows of a machine: memory of the device and of the host, and the rates of links, disk and arithmetic.
// No tensors: the machine may be another one than this.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request/known_cards.h"
#include "engine/request/machine_words.h"

namespace wan {

/// Rates are per second, sizes in bytes. All are finite; rates are above 0.
struct Machine {
  std::string device;      // what the plan calls it: "NVIDIA GeForce RTX 4090", "cpu", "24 GB card"
  bool is_card = false;    // false: the CPU itself, on which mapped files serve and nothing is copied
  bool described = false;  // by flags: nothing of it was probed
  uint64_t device_total = 0;
  uint64_t device_free = 0;             // now
  bool has_display = false;             // other programs draw on it
  uint64_t budget = 0;                  // what a job may take of the device: budget_of(free), or what the user allows
  std::string budget_field = "memory";  // of the request, for refusals: "device_memory" where the user allows less
  uint64_t allowed = UINT64_MAX;        // of the device by the user (--device-memory), whatever is free
  bool stands_in = false;               // the CPU in a card's place (is_card): the device's memory is the host's

  uint64_t host_available = 0;  // MemAvailable, under the limits of control groups
  uint64_t host_pinnable = 0;   // of that, what may be pinned without harm to other programs

  double link = 0;           // host -> device from pinned memory
  double link_pageable = 0;  // the same from ordinary memory
  double disk = 0;           // reading files that lie in no cache

  double linear = 0;       // FLOP/s of 16-bit matrix products as they are reached, not as the sheet says
  double linear8 = 0;      // of 8-bit ones; 0: the card has none
  double attention = 0;    // of 16-bit attention
  double bandwidth = 0;    // of the device's memory
  double host_linear = 0;  // FLOP/s of products on the host

  std::vector<std::string> assumed;  // what was neither probed nor described: "the link's speed is taken for 12 GB/s"
};

/// What a job may take of a device with so many bytes free: less 5 % and 0.7 GB, or 1.5 GB where a display hangs on it.
/// 0 where the margin is all there is.
uint64_t budget_of(uint64_t free, bool has_display);

/// What the program itself holds of the host's memory beside a card: libraries and the driver's share.
inline constexpr uint64_t kProgramBytes = 2'000'000'000;

/// How the host's memory is used beside a card, in bytes.
struct HostShare {
  uint64_t ring = 0;      // of pinned pieces, through which mapped files and pageable images go
  uint64_t images = 0;    // for images of streamed blocks: all that is available but for the program and the ring
  uint64_t pinnable = 0;  // of them
};
/// Of Machine::host_available and host_pinnable.
HostShare host_share(const Machine& machine);

/// Lets a job take at most so many bytes of the device (Machine::allowed): no more than Machine::budget.
void limit_budget(Machine& machine, uint64_t allowed);

/// `probed` with what the words say in its place. A described card is free, without a display, and has the link that it
/// is sold with unless one is described. What is taken on trust is told in Machine::assumed. Throws InvalidRequest that
/// names every bad word (fields gpu, host, link and disk) with what is wanted.
Machine described(const MachineWords& words, const Machine& probed);
/// Gives the machine a card's name and rates, its link among them; its memory stays.
void take_card(Machine& machine, const Card& card);
/// Host memory: half of what is available may be pinned, since pinned buffers that fill memory stop other programs.
void set_host(Machine& machine, uint64_t available);
/// Copies from ordinary memory go through a pinned ring, at the speed of one thread that fills it.
void set_link(Machine& machine, double rate);

}  // namespace wan
