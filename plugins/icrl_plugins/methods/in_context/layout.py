"""Where the parts of a decision stand in a token: written here once, for training, for the model and for the agent.

Input t is the decision at time t: x_t = (s_{t-1}, a_{t-1}, r_{t-1}, s_t), and x_0 = (0, 0, 0, s_0). s_t is the observation
that a_t is chosen from. At an episode's start it is the reset observation, and the first three parts are the last step of
the episode before, so no reward is lost and no action is predicted unseeing. A token is a vector of F = O + A + 1 + O numbers
in that order, plus one 0/1 flag where an episode starts, if asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray


@dataclass(frozen=True)
class TokenLayout:
    """The places of the parts along the last axis of an array of tokens (…, F)."""

    observation_size: int  # O
    action_size: int  # A
    episode_start_flag: bool = False
    discrete_actions: bool = False  # a_{t-1} is one-hot

    @classmethod
    def of(cls, spec: EnvironmentSpec, episode_start_flag: bool = False) -> TokenLayout:
        """The layout of an environment's tokens."""
        return cls(spec.observation_size, spec.action_size, episode_start_flag, spec.actions == "discrete")

    @property
    def size(self) -> int:
        """F."""
        return self.num_scaled + int(self.episode_start_flag)

    @property
    def part_sizes(self) -> tuple[int, int, int, int]:
        """Numbers in s_{t-1}, a_{t-1}, r_{t-1}, and s_t with the flag, in their order; they sum to F."""
        current = self.observation_size + int(self.episode_start_flag)
        return self.observation_size, self.action_size, 1, current

    @property
    def previous_observation(self) -> slice:
        """s_{t-1}."""
        return slice(0, self.observation_size)

    @property
    def previous_action(self) -> slice:
        """a_{t-1}."""
        return slice(self.observation_size, self.observation_size + self.action_size)

    @property
    def previous_reward(self) -> int:
        """r_{t-1}."""
        return self.observation_size + self.action_size

    @property
    def previous(self) -> slice:
        """The whole step before: s_{t-1}, a_{t-1}, r_{t-1}."""
        return slice(0, self.previous_reward + 1)

    @property
    def observation(self) -> slice:
        """s_t."""
        return slice(self.previous_reward + 1, self.num_scaled)

    @property
    def num_scaled(self) -> int:
        """How many leading numbers are measurements, not flags."""
        return 2 * self.observation_size + self.action_size + 1

    def write_previous(
        self, tokens: FloatArray, observations: FloatArray, actions: FloatArray, rewards: FloatArray
    ) -> None:
        """Puts a step before into `tokens` (…, F): normalised (…, O), (…, A), normalised (…)."""
        tokens[..., self.previous_observation] = observations
        tokens[..., self.previous_action] = actions
        tokens[..., self.previous_reward] = rewards

    def write_current(self, tokens: FloatArray, observations: FloatArray, is_start: Array) -> None:
        """Puts the observation to act on into `tokens` (…, F): normalised (…, O), and where an episode starts (…)."""
        tokens[..., self.observation] = observations
        if self.episode_start_flag:
            tokens[..., -1] = is_start
