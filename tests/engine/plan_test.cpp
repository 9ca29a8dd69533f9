// Where weights lie, from free memory and sizes alone.
#include "engine/residency/plan.h"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

#include "engine/base/error.h"
#include "engine/residency/largest_fit.h"
#include "engine/residency/tile_needs.h"
#include "tests/support/plans.h"

namespace wan {
namespace {

using plans::a14b;
using plans::card;
using plans::kBf16;
using plans::kFp8;

const Extent k480p{81, 480, 832}, k720p{81, 720, 1280};
constexpr uint64_t kGb = 1'000'000'000;

const NetworkPlan& expert(const Plan& plan, const char* phase) {
  return plan.phase(phase)->networks.at(0);
}

TEST(Plan, MemoryDecidesInTheOrderOfTheChoices) {
  const Plan all = plan(a14b(k480p, kBf16), card(90 * kGb));
  EXPECT_TRUE(all.keeps_all);
  EXPECT_TRUE(all.keeps_experts);
  EXPECT_EQ(all.vae, VaeWay::Own);

  const Plan experts = plan(a14b(k480p, kBf16), card(65 * kGb));
  EXPECT_FALSE(experts.keeps_all);
  EXPECT_TRUE(experts.keeps_experts);
  EXPECT_EQ(experts.phase("high_noise")->networks.size(), 2u);
  EXPECT_FALSE(experts.prefetches_expert);

  const Plan one = plan(a14b(k480p, kBf16), card(40 * kGb));
  EXPECT_FALSE(one.keeps_experts);
  EXPECT_TRUE(one.prefetches_expert);
  EXPECT_EQ(expert(one, "high_noise").residency, Residency::Whole);
  EXPECT_EQ(expert(one, "low_noise").residency, Residency::Whole);

  const Plan streamed = plan(a14b(k480p, kBf16), card(20 * kGb));
  for (const char* phase : {"high_noise", "low_noise"}) {
    EXPECT_EQ(expert(streamed, phase).residency, Residency::Streamed);
    EXPECT_EQ(expert(streamed, phase).slots, 3);
    EXPECT_GT(expert(streamed, phase).kept_blocks, 10);
  }
  EXPECT_EQ(expert(streamed, "high_noise").kept_blocks, expert(streamed, "low_noise").kept_blocks);
  EXPECT_TRUE(streamed.prefetches_expert);
}

TEST(Plan, NoPhaseTakesMoreThanTheBudget) {
  for (const uint64_t block : {kBf16, kFp8, plans::kQ4})
    for (uint64_t budget = 7 * kGb; budget < 100 * kGb; budget += kGb / 2) {
      SCOPED_TRACE(budget);
      const Plan made = plan(a14b(k480p, block), card(budget));
      EXPECT_LE(made.device_bytes(), budget);
      for (const PhasePlan& phase : made.phases) {
        uint64_t sum = phase.activations;
        for (const NetworkPlan& network : phase.networks) sum += network.device_bytes;
        if (!made.keeps_all) {
          EXPECT_EQ(sum, phase.device_bytes);
        }
        EXPECT_GE(phase.seconds, phase.compute_seconds);
      }
    }
}

TEST(Plan, MoreMemoryIsNeverSlower) {
  double first = 0, last = 0;
  // Over the slow link copies are seen. There the memory ends before one expert is whole, whose switch is seen as well.
  for (const double link : {22e9, 0.5e9}) {
    SCOPED_TRACE(link);
    double before = 1e18;
    for (uint64_t budget = 7 * kGb; budget < (link > 1e9 ? 34 : 33) * kGb; budget += kGb / 4) {
      Machine machine = card(budget);
      set_link(machine, link);
      const Plan made = plan(a14b(k480p, kBf16), machine);
      EXPECT_LE(made.seconds, before * 1.01) << budget;  // rounding of the spread
      before = made.seconds;
      if (budget == 7 * kGb) first = made.seconds;
      last = made.seconds;
    }
  }
  EXPECT_LT(last, 0.7 * first) << "and faster over a slow link";
}

TEST(Plan, BytesOfAStreamedExpertAreExact) {
  Workload work = a14b(k480p, kBf16);
  for (Network network : {Network::HighNoise, Network::LowNoise})
    work.networks[network].blocks[7].device += 1'000'000;  // the largest: slots are as large as it where it is streamed
  bool is_kept = false, is_streamed = false;
  for (const uint64_t room : {13 * kGb, 15 * kGb}) {
    SCOPED_TRACE(room);
    const NetworkPlan placed = place_network(work.networks[Network::HighNoise], {room, 64 * kGb, 32 * kGb});
    const std::vector<bool> kept = kept_blocks(placed);
    (kept[7] ? is_kept : is_streamed) = true;
    uint64_t bytes = 470'000'000 + 3 * (kBf16 + (kept[7] ? 0 : 1'000'000)), streamed = 0;
    for (size_t i = 0; i < 40; ++i) (kept[i] ? bytes : streamed) += kBf16 + (i == 7 ? 1'000'000 : 0);
    EXPECT_EQ(placed.device_bytes, bytes);
    EXPECT_EQ(placed.host_bytes, streamed);
    EXPECT_EQ(std::accumulate(kept.begin(), kept.end(), int64_t(0)), placed.kept_blocks);
    EXPECT_LE(bytes, room);
    EXPECT_GT(bytes + kBf16 + 1'000'000, room) << "another block would fit";
  }
  EXPECT_TRUE(is_kept && is_streamed) << "both cases of the largest block";
}

TEST(Plan, DownToTwoBlocksAndNoFurther) {
  const NetworkSizes sizes = plans::network(Network::HighNoise, 40, kBf16, 470'000'000);
  const uint64_t two = 470'000'000 + 2 * kBf16;
  EXPECT_EQ(least_bytes(sizes), two);
  const NetworkPlan placed = place_network(sizes, {two, 0, 0});
  EXPECT_EQ(placed.slots, 2);
  EXPECT_EQ(placed.kept_blocks, 0);
  EXPECT_EQ(placed.held_images, 0);
  EXPECT_THROW(place_network(sizes, {two - 1, 0, 0}), std::length_error);
  EXPECT_EQ(place_network(sizes, {sizes.device(), 0, 0}).residency, Residency::Whole);
  EXPECT_EQ(place_network(sizes, {sizes.device() - 1, 0, 0}).residency, Residency::Streamed);
}

TEST(Plan, KeptBlocksAreSpreadEvenly) {
  for (int64_t count = 1; count <= 48; ++count)
    for (int64_t marked = 0; marked <= count; ++marked) {
      const std::vector<bool> flags = spread_evenly(count, marked);
      ASSERT_EQ(std::count(flags.begin(), flags.end(), true), marked) << count << " " << marked;
      // Gaps between streamed blocks differ by one at most, the one around the end included.
      std::vector<int64_t> at;
      for (int64_t i = 0; i < count; ++i)
        if (!flags[size_t(i)]) at.push_back(i);
      if (at.size() < 2) continue;
      int64_t least = count, most = 0;
      for (size_t i = 0; i < at.size(); ++i) {
        const int64_t gap = i + 1 < at.size() ? at[i + 1] - at[i] : at[0] + count - at[i];
        least = std::min(least, gap);
        most = std::max(most, gap);
      }
      ASSERT_LE(most - least, 1) << count << " " << marked;
    }
  EXPECT_EQ(spread_evenly(4, 3), (std::vector<bool>{true, true, true, false}));
}

TEST(Plan, HostMemoryLimitsWhatIsHeldAndWhatIsPinned) {
  const NetworkSizes cast = plans::network(Network::HighNoise, 40, kBf16, 470'000'000, /*made=*/true);
  const uint64_t device = 470'000'000 + 3 * kBf16;  // 40 streamed
  const NetworkPlan all = place_network(cast, {device, 64 * kGb, 64 * kGb});
  EXPECT_EQ(all.held_images, 40);
  EXPECT_EQ(all.pinned_images, 40);
  EXPECT_EQ(all.host_bytes, 40 * kBf16);
  const NetworkPlan half = place_network(cast, {device, 20 * kBf16, 10 * kBf16});
  EXPECT_EQ(half.held_images, 20);
  EXPECT_EQ(half.pinned_images, 10);
  const std::vector<Image> images = images_of(half);
  EXPECT_EQ(std::count(images.begin(), images.end(), Image::File), 20);
  EXPECT_EQ(std::count(images.begin(), images.end(), Image::Pinned), 10);
  // Pages of the file are not pinned.
  const NetworkSizes mapped = plans::network(Network::HighNoise, 40, kBf16, 470'000'000);
  EXPECT_EQ(place_network(mapped, {device, 64 * kGb, 64 * kGb}).pinned_images, 0);
}

TEST(Plan, LessHostMemoryCostsSecondsAndNothingElse) {
  Machine machine = card(8 * kGb);
  machine.disk = 0.5e9;
  const Plan roomy = plan(a14b(k480p, kBf16, true), machine);
  set_host(machine, 8 * kGb);
  const Plan tight = plan(a14b(k480p, kBf16, true), machine);
  EXPECT_GT(tight.seconds, roomy.seconds);
  EXPECT_EQ(expert(tight, "high_noise").kept_blocks, expert(roomy, "high_noise").kept_blocks);
  EXPECT_LE(tight.phase("high_noise")->host_bytes, 8 * kGb - kProgramBytes);
}

TEST(Plan, ASwitchThatIsPrefetchedIsShort) {
  Machine machine = card(40 * kGb);
  const Plan prefetched = plan(a14b(k480p, kBf16), machine);
  EXPECT_EQ(prefetched.phase("low_noise")->load_seconds, 0);  // one forward of a 4090 takes longer than the link
  EXPECT_GT(prefetched.phase("high_noise")->load_seconds, 5);
  machine.disk = 0.2e9;  // reading takes longer than all steps before
  set_host(machine, 16 * kGb);
  EXPECT_GT(plan(a14b(k480p, kBf16), machine).phase("low_noise")->load_seconds, 10);
}

TEST(Plan, OneExpertAloneIsALoadWithoutASwitch) {
  Workload work = a14b(k480p, kBf16);
  work.low_steps = work.low_forwards = 0;
  const Plan made = plan(work, card(31 * kGb));
  EXPECT_FALSE(made.prefetches_expert);
  EXPECT_EQ(made.phase("low_noise"), nullptr);
  EXPECT_EQ(expert(made, "high_noise").residency, Residency::Streamed);
}

TEST(Plan, TheTextEncoderIsStreamedAndOnTheHostByWordOnly) {
  EXPECT_EQ(plan(a14b(k480p, plans::kQ4), card(14 * kGb)).phase("text")->networks[0].residency, Residency::Whole);
  EXPECT_EQ(plan(a14b(k480p, plans::kQ4), card(8 * kGb)).phase("text")->networks[0].residency, Residency::Streamed);
  const Extent small{9, 240, 416};
  Workload work = a14b(small, plans::kQ4);
  EXPECT_THROW(plan(work, card(27 * kGb / 10)), InvalidRequest) << "its states would have other bits";
  work.text_on_host = true;
  const Plan least = plan(work, card(27 * kGb / 10));
  EXPECT_EQ(least.phase("text")->networks[0].residency, Residency::Host);
  EXPECT_EQ(least.phase("text")->device_bytes, 0u);
}

TEST(Plan, TheVaeTakesTheWidestWayThatFits) {
  const Demand demand = plans::demand(k720p);
  const auto way = [&](uint64_t budget) { return plan(a14b(k720p, plans::kQ4), card(budget)).vae; };
  EXPECT_EQ(way(demand.vae_own + 260'000'000), VaeWay::Own);
  EXPECT_EQ(way(demand.vae_own + 260'000'000 - 1), VaeWay::Shared);
  Workload tiles = a14b(k720p, plans::kQ4);
  tiles.demand = [](const Extent& extent) {
    Demand demand = plans::demand(extent);
    demand.vae_shared *= 3;
    demand.vae_own *= 3;
    demand.vae_tiles = kGb;
    return demand;
  };
  EXPECT_EQ(plan(tiles, card(18 * kGb)).vae, VaeWay::Tiles);
}

/// 720p with the VAE in tiles as on an 8 GB card: 13 frames, so that the steps fit, too.
Workload in_tiles(const Extent& extent) {
  Workload work = a14b(extent, plans::kQ4);
  work.demand = [](const Extent& size) {
    Demand demand = plans::demand(size);
    const TileNeeds tiles = tile_needs(96, size, at::kHalf);
    demand.vae_tiles = tiles.device;
    demand.tiles_on_host = tiles.on_host;
    demand.tile_work = tiles.work;
    return demand;
  };
  return work;
}

TEST(Plan, ACardTakesTilesByItsModelAndNotByWhatIsFree) {
  const Extent short720p{13, 720, 1280};
  const Workload work = in_tiles(short720p);
  constexpr uint64_t kGiB = uint64_t(1) << 30;
  Machine small = card(6 * kGb), large = card(6 * kGb), spare = card(6 * kGb);
  small.device_total = 8 * kGiB - 300'000'000;  // as a driver has it
  large.device_total = 10 * kGiB;
  spare.device_total = 8 * kGiB;
  spare.device_free = spare.budget = 20 * kGb;  // what no such card has
  const Plan made = plan(work, small);
  EXPECT_EQ(made.vae, VaeWay::Tiles);
  EXPECT_EQ(plan(work, spare).vae, VaeWay::Tiles);
  ASSERT_TRUE(shortage(work, large, short720p)) << "whole frames have no room in what is free";
  EXPECT_EQ(shortage(work, large, short720p)->phase, "decode");
  large.budget = 9 * kGb;
  EXPECT_EQ(plan(work, large).vae, VaeWay::Shared);
  EXPECT_FALSE(card_takes_tiles(6 * kGb, small.device_total));
  EXPECT_TRUE(card_takes_tiles(62 * kGb / 10, small.device_total));
}

TEST(Plan, WhatTheUserAllowsOfACardDecidesAboutTilesAsASmallerCardWould) {
  const Extent short720p{13, 720, 1280};
  const Workload work = in_tiles(short720p);
  Machine machine = card(20 * kGb);
  machine.device_total = 24 * (uint64_t(1) << 30);
  EXPECT_EQ(plan(work, machine).phase("decode")->in_tiles, false);
  Machine limited = machine;
  limit_budget(limited, 6 * kGb);
  EXPECT_TRUE(plan(work, limited).phase("decode")->in_tiles);
  // Also where less is free than the user allows: what is free decides nothing.
  machine.budget = 5 * kGb;
  Machine taken = machine;
  limit_budget(taken, 6 * kGb);
  EXPECT_EQ(taken.budget, 5 * kGb);
  EXPECT_TRUE(plan(work, taken).phase("decode")->in_tiles);
  // The refusal of a card on which other programs have memory names it.
  try {
    plan(work, machine);
    ADD_FAILURE() << "whole frames fit into 5 GB";
  } catch (const InvalidRequest& refused) {
    const std::string& line = refused.errors.at(0).wrong;
    EXPECT_TRUE(
        line.ends_with(", and --device-memory 5.00GB lets the VAE compute in tiles, which have other last bits"))
        << line;
  }
}

/// Of a card on which nothing else runs but a display: where some size has room for its VAE, so has each smaller one.
TEST(Plan, ASmallerSizeIsNotRefusedWhereALargerOneComputesInTiles) {
  constexpr uint64_t kGiB = uint64_t(1) << 30;
  for (const uint64_t gigabytes : {6, 8, 10, 11, 12, 16, 24, 32})
    for (const bool display : {false, true}) {
      SCOPED_TRACE(std::to_string(gigabytes) + " GiB" + (display ? " with a display" : ""));
      const uint64_t total = gigabytes * kGiB - 100'000'000;
      Machine machine = card(budget_of(total - 400'000'000, display));
      machine.device_total = total;
      const Workload work = in_tiles({5, 256, 256});
      bool has_room = true;
      for (int64_t side = 256; side <= 2560; side += 16) {
        const Demand demand = demand_on(work, machine, {5, side, side});
        ASSERT_EQ(demand.vae_shared > 0, demand.vae_tiles == 0) << "a card has one of both ways";
        const uint64_t needed = work.networks.at(Network::Vae).device() + std::max(demand.vae_shared, demand.vae_tiles);
        const bool fits = needed <= machine.budget;
        EXPECT_TRUE(has_room || !fits) << side << " has room, and a smaller one has not";
        has_room = has_room && fits;
      }
    }
}

TEST(Plan, ARefusalSaysWhatTakesLessInThePhaseThatHasNoRoom) {
  const auto line_of = [](const Workload& work, const Machine& machine) {
    try {
      plan(work, machine);
    } catch (const InvalidRequest& refused) {
      return refused.errors.at(0).wrong;
    }
    return std::string();
  };
  Workload large_vae = a14b(k480p, plans::kQ4), large_text = large_vae, large_blocks = large_vae;
  large_vae.networks.at(Network::Vae).outside = 40 * kGb;
  large_text.networks.at(Network::TextEncoder).outside = 40 * kGb;
  large_blocks.networks.at(Network::HighNoise).outside = 40 * kGb;
  EXPECT_TRUE(line_of(large_blocks, card(20 * kGb)).ends_with("either: --weights fp8 takes less"))
      << line_of(large_blocks, card(20 * kGb));
  EXPECT_TRUE(line_of(large_vae, card(20 * kGb)).ends_with("either: --device cpu takes nothing of the card"))
      << line_of(large_vae, card(20 * kGb));
  EXPECT_TRUE(line_of(large_text, card(20 * kGb))
                  .ends_with("either: a text encoder of fewer bits (--text-encoder FILE) takes less, --device cpu "
                             "takes nothing of the card"))
      << line_of(large_text, card(20 * kGb));
}

TEST(Plan, TilesTakeLessTakeLongerAndWaitOnTheHost) {
  const Extent short720p{13, 720, 1280};
  const Workload work = in_tiles(short720p);
  Machine machine = card(9 * kGb);
  machine.device_total = uint64_t(10) << 30;
  const Plan whole = plan(work, machine);
  machine.device_total = uint64_t(8) << 30;
  const Plan tiles = plan(work, machine);
  const PhasePlan &as_whole = *whole.phase("decode"), &in_parts = *tiles.phase("decode");
  EXPECT_LT(double(in_parts.activations), 0.35 * double(as_whole.activations));
  EXPECT_FALSE(as_whole.in_tiles);
  EXPECT_TRUE(in_parts.in_tiles);
  EXPECT_GT(in_parts.host_bytes, as_whole.host_bytes + 4 * kGb);
  EXPECT_GT(in_parts.compute_seconds, 1.05 * as_whole.compute_seconds);
  EXPECT_LT(in_parts.compute_seconds, 1.2 * as_whole.compute_seconds);
  // Four latent frames, to the card and back.
  EXPECT_EQ(in_parts.streamed_bytes, 8 * tile_needs(96, short720p, at::kHalf).on_host);
  EXPECT_NEAR(
      in_parts.seconds,
      in_parts.load_seconds + in_parts.compute_seconds + double(in_parts.streamed_bytes) / machine.link_pageable, 1e-9);
  set_host(machine, 6 * kGb);
  try {
    plan(work, machine);
    ADD_FAILURE() << "the tiles' caches fit nowhere";
  } catch (const InvalidRequest& refused) {
    const std::string& line = refused.errors.at(0).wrong;
    EXPECT_TRUE(line.starts_with("must have ")) << line;
    EXPECT_NE(line.find(" of host memory for the VAE in tiles at 1280x720 with 13 frames, got 6.00 GB available; "),
              std::string::npos)
        << line;
  }
}

TEST(Plan, TheLargestSettingKnowsOfTiles) {
  const Workload work = in_tiles({5, 2160, 3840});
  Workload without = work;
  without.demand = plans::demand;
  Machine machine = card(6 * kGb);
  machine.stands_in = true;
  EXPECT_FALSE(shortage(work, machine, {5, 720, 1280}));
  EXPECT_TRUE(shortage(without, machine, {5, 720, 1280}));
  EXPECT_TRUE(largest_fit(work, machine).starts_with("1280x720 with 5 frames")) << largest_fit(work, machine);
  EXPECT_FALSE(largest_fit(without, machine).starts_with("1280x720")) << largest_fit(without, machine);
}

TEST(Plan, TheLargestSettingMayBeALargerOneInTiles) {
  const Extent asked{13, 576, 1024};
  const Workload work = in_tiles(asked);
  Machine machine = card(45 * kGb / 10);
  machine.device_total = uint64_t(8) << 30;
  ASSERT_TRUE(shortage(work, machine, asked));
  EXPECT_EQ(shortage(work, machine, asked)->phase, "decode");
  EXPECT_FALSE(shortage(work, machine, {13, 720, 1280}));
  EXPECT_TRUE(largest_fit(work, machine).starts_with("1280x720 with 13 frames")) << largest_fit(work, machine);
}

TEST(Plan, ARefusalNamesBothNumbersAndTheLargestSettings) {
  try {
    plan(a14b(k720p, kBf16), card(6 * kGb));
    FAIL() << "720p fits into 6 GB";
  } catch (const InvalidRequest& refused) {
    EXPECT_EQ(refused.errors.at(0).field, "memory");
    const std::string& line = refused.errors.at(0).wrong;
    EXPECT_TRUE(line.starts_with("must hold ")) << line;
    EXPECT_NE(
        line.find(
            " for denoise at 1280x720 with 81 frames, two blocks at a time, got 6.00 GB of RTX 4090; the largest that "
            "fits is 720x400 with 81 frames"),
        std::string::npos)
        << line;
  }
  // What it names fits, and the next larger does not.
  const Workload work = a14b(k480p, kBf16);
  const Machine machine = card(47 * kGb / 10);
  ASSERT_TRUE(shortage(work, machine, k480p));
  EXPECT_EQ(shortage(work, machine, k480p)->phase, "denoise");
  const std::string fits = largest_fit(work, machine);
  EXPECT_NE(fits.find(", or 832x480 with "), std::string::npos) << fits;
  const int64_t frames = std::stoll(fits.substr(fits.rfind("with ") + 5));
  EXPECT_FALSE(shortage(work, machine, {frames, 480, 832}));
  EXPECT_TRUE(shortage(work, machine, {frames + 4, 480, 832}));
}

TEST(Plan, NoMemoryAtAllIsToldAsThat) {
  EXPECT_EQ(largest_fit(a14b(k480p, kBf16), card(kGb)), "");
  try {
    plan(a14b(k480p, kBf16), card(0));
    FAIL() << "a job fits into nothing";
  } catch (const InvalidRequest& refused) {
    EXPECT_NE(refused.errors.at(0).wrong.find("got 0.00 MB of RTX 4090; no other size or length fits either"),
              std::string::npos)
        << refused.what();
  }
  Machine machine = card(24 * kGb);
  set_host(machine, kGb);
  try {
    plan(a14b(k480p, kBf16), machine);
    FAIL() << "a program fits into nothing";
  } catch (const InvalidRequest& refused) {
    EXPECT_NE(refused.errors.at(0).wrong.find("of host memory beside the card, got 1.00 GB available"),
              std::string::npos)
        << refused.what();
  }
}

TEST(Plan, MappedFilesOfTheCpuTakeNothing) {
  Workload work = a14b(k480p, kBf16);
  for (auto& [network, sizes] : work.networks) {
    sizes.mapped = true;
    sizes.outside = 0;
    for (BlockSizes& block : sizes.blocks) block.device = 0;
  }
  Machine machine = card(16 * kGb);
  machine.is_card = false;
  const Plan made = plan(work, machine);
  EXPECT_TRUE(made.keeps_all);
  EXPECT_EQ(made.pinned_bytes, 0u);
  EXPECT_EQ(made.phase("high_noise")->device_bytes, made.phase("high_noise")->activations);
}

}  // namespace
}  // namespace wan
