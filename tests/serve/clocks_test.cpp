// A clock that goes on evenly.
#include "engine/serve/queue/clocks.h"

#include <gtest/gtest.h>

#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

TEST(EvenClock, BeginsWithTheMachinesClockAndIsNotSet) {
  int64_t wall = 1000, boot = 50;
  const Clocks clocks = {[&] { return wall; }, [&] { return boot; }};
  const EvenClock clock(clocks, 0);
  EXPECT_EQ(clock.now(), 1000);
  wall = 90'000;
  EXPECT_EQ(clock.now(), 1000);
  wall = 3;
  boot += 7;
  EXPECT_EQ(clock.now(), 1007);
  EXPECT_EQ(EvenClock(clocks, 1007).now(), 1007) << "the next one does not go back";
  wall = 2000;
  EXPECT_EQ(EvenClock(clocks, 1007).now(), 2000);
}

TEST(EvenClock, OfTheMachineIsThatOfTheMachine) {
  const EvenClock clock(clocks_of_machine(), 0);
  const int64_t first = clock.now();
  EXPECT_NEAR(double(first), double(now_ms()), 60'000);
  EXPECT_GE(clock.now(), first);
}

}  // namespace
}  // namespace wan::serve
