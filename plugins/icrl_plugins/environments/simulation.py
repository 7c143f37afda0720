"""MuJoCo stepped for K tasks of one family on one compiled model: the only place where the physics runs.

Per task there is one `MjData`; what observations and rewards read is gathered into arrays with a leading axis K, and
the family's formulas run once over all of them. A single Gymnasium environment is this with K = 1.

Measured with 10 and with 40 tasks, a step costs 1.1 to 1.3 times the bare `mj_step`. `mujoco.rollout` on one thread saves
nothing, and two threads, its own or Python's, gain at best a quarter (on the ant) and lose tenfold where another process
uses the second core, as a data set's second worker does: one thread it is.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import expand_model_path
from gymnasium.utils import seeding
from numpy.typing import NDArray

from icrl_plugins.environments.formulas import Formulas, PhysicsState
from icrl_plugins.environments.physics_warnings import collect_warnings
from icrl_registry.contracts import Array, BatchedEnvironment, BatchedStep, BoolArray, FloatArray


def load_model(family: Formulas) -> mujoco.MjModel:
    """Compiles the family's body from the model file that Gymnasium ships, with the masses and dampings it states."""
    with collect_warnings() as messages:
        model = mujoco.MjModel.from_xml_path(expand_model_path(family.model_file))
    for message in messages:
        if (
            "settotalmass" not in message
        ):  # half_cheetah.xml uses it, and another way to set the mass alters the physics
            warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=2)
    for name, mass in family.body_masses.items():
        row = model.body(name).id
        model.body_inertia[row] *= mass / model.body_mass[row]
        model.body_mass[row] = mass
    for name, damping in family.joint_damping.items():
        model.dof_damping[model.joint(name).dofadr[0]] = damping
    if family.body_masses or family.joint_damping:
        mujoco.mj_setConst(model, mujoco.MjData(model))  # the inverse masses that contacts are solved with
    return model


@cache
def _stop_timers() -> None:
    """Removes the clock with which MuJoCo's Python package has every part of a step timed, for its viewer's profiler.

    Without it `mj_step` takes 7 % (ant) to 26 % (reacher) less time and gives the same numbers. The clock is the callback
    `mjcb_time` of the C library, which the package can set but not clear; `mujoco.set_mjcb_time(None)` brings it back.
    Where the library lies elsewhere the timers go on. Nobody's own clock is removed: what was set before stays, and this
    happens once in a process.
    """
    if mujoco.get_mjcb_time() is not None:  # None for the package's own
        return
    package = Path(mujoco.__file__).parent
    for library in (*package.glob("libmujoco.*"), *package.glob("mujoco.dll")):
        with suppress(OSError, ValueError):
            ctypes.c_void_p.in_dll(ctypes.CDLL(str(library)), "mjcb_time").value = None


#: What MuJoCo needs to go on exactly: positions, velocities and controls, but also the solver's warm start.
PHYSICS = int(mujoco.mjtState.mjSTATE_INTEGRATION)

#: Which tasks of a batch: a slice where possible, since NumPy then makes views instead of copies.
TaskRows = slice | NDArray[np.intp]
ALL = slice(None)


class MujocoBatch(BatchedEnvironment):
    """K tasks of one family. Rows are independent: what a row returns depends on its task, seed and actions alone."""

    def __init__(
        self,
        family: Formulas,
        tasks: Sequence[Sequence[float] | Array],
        model: mujoco.MjModel | None = None,
        first_data: mujoco.MjData | None = None,
    ) -> None:
        """`model` and `first_data`, made here by default, let a renderer share the model and the state of row 0.

        Raises:
            ValueError: no task, or one without the family's P finite parameters.
        """
        if len(tasks) == 0:
            raise ValueError(f"a batch of {family.id} needs at least one task")
        self.family = family
        self.num_tasks = len(tasks)
        self.model = load_model(family) if model is None else model
        # A diverged simulation must show as NaN, which the caller refuses, not as a silent jump back to the start.
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self.control_scale = np.asarray(family.control_scale)  # () or (A,)
        self.time_step = self.model.opt.timestep * family.frame_skip  # s
        self.parameters = np.stack([family.checked_parameters(task) for task in tasks])  # (K, P)
        self._data = [mujoco.MjData(self.model) for _ in tasks]
        _stop_timers()
        if first_data is not None:
            self._data[0] = first_data
        self._start = self.model.qpos0.copy()  # (nq,)
        self._bodies = np.array([self.model.body(name).id for name in family.tracked_bodies], dtype=np.intp)
        # MuJoCo's own memory: asking an MjData for its arrays at every step would cost more than to copy them.
        self._controls = [data.ctrl for data in self._data]  # K × (A,)
        self._views = [[getattr(data, name) for data in self._data] for name in self._fields()]  # K × (n, …) each
        self._track = np.zeros_like(family.track(self._gather(ALL)))  # (K, d), of the tracked point before the step
        self._row_numbers = np.arange(self.num_tasks)  # (K,)
        self._elapsed = np.full(self.num_tasks, -1)  # (K,), steps of the running episode; -1 before the first reset
        self._last: FloatArray = np.zeros((self.num_tasks, family.observation_size), dtype=np.float32)  # (K, O)
        self._signals = np.zeros((self.num_tasks, family.horizon))  # (K, H), of the running episodes' success
        self._has_diverged = False  # said once

    def __getstate__(self) -> dict[str, Any]:
        """A copy, in memory or by pickle, has a model and simulators of its own and goes on exactly as this batch would."""
        return {
            "family": self.family,
            "parameters": self.parameters,
            "model": self.model,
            "start": self._start,
            "has_diverged": self._has_diverged,
            "episodes": dict(self.save()),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        MujocoBatch.__init__(self, state["family"], state["parameters"], state["model"])
        self._start, self._has_diverged = state["start"], state["has_diverged"]
        self.restore(state["episodes"])
        for data in self._data:  # poses for a renderer; the next step computes its own
            mujoco.mj_kinematics(self.model, data)
            mujoco.mj_comPos(self.model, data)
            mujoco.mj_camlight(self.model, data)

    def reset(self, row: int, seed: int) -> FloatArray:
        """Starts an episode of task `row`; returns its first observation, (O,). The seed alone decides the noise."""
        return self.start(row, seeding.np_random(seed)[0])

    def start(self, row: int, generator: np.random.Generator) -> FloatArray:
        """`reset` with the noise drawn from `generator`."""
        data = self._data[row]
        mujoco.mj_resetData(self.model, data)
        positions, velocities = self._start.copy(), np.zeros(self.model.nv)
        self.family.draw_start(positions, velocities, generator)
        self.family.place_task(positions, self.parameters[row])
        data.qpos[:], data.qvel[:] = positions, velocities
        mujoco.mj_forward(self.model, data)
        state = self._gather(row)
        self._track[row] = self.family.track(state)
        self._last[row] = self.family.observe(state)
        self._elapsed[row] = 0
        observation: FloatArray = self._last[row].copy()
        return observation

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        """Steps the rows where `active` (K,) holds with `actions` (K, A) in [-1, 1], clipped to it.

        Raises:
            ValueError: actions of another shape or not finite, or a row that was never reset.
        """
        rows: TaskRows = ALL if active.all() else np.flatnonzero(active)
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != (self.num_tasks, self.family.action_size):
            expected = (self.num_tasks, self.family.action_size)
            raise ValueError(f"actions have shape {actions.shape}, {self.family.id} expects {expected}")
        step_rewards, step_terminated = self.advance(actions[rows], rows)
        rewards = np.zeros(self.num_tasks, dtype=np.float32)
        terminated = np.zeros(self.num_tasks, dtype=np.bool_)
        truncated = np.zeros(self.num_tasks, dtype=np.bool_)
        rewards[rows], terminated[rows] = step_rewards, step_terminated
        truncated[rows] = self._elapsed[rows] >= self.family.horizon
        return BatchedStep(self._last.copy(), rewards, terminated, truncated, self._successes(terminated, truncated))

    def succeeded(self, row: int, terminated: bool) -> bool:
        """Whether the episode of task `row`, which ends here, is what the family's `success` says."""
        steps = min(int(self._elapsed[row]), self.family.horizon)
        return self.family.succeeded(self._signals[row, :steps], terminated)

    def _successes(self, terminated: BoolArray, truncated: BoolArray) -> FloatArray | None:
        """(K,) the measure where an episode ended and NaN elsewhere; None where none did."""
        ended = np.flatnonzero(terminated | truncated)
        if not len(ended):
            return None
        successes = np.full(self.num_tasks, np.nan, dtype=np.float32)
        for row in ended:
            successes[row] = self.succeeded(int(row), bool(terminated[row]))
        return successes

    def advance(self, actions: Array, rows: TaskRows) -> tuple[Array, BoolArray]:
        """One step of the R tasks `rows` with `actions` (R, A); returns rewards (R,) float64 and terminations (R,)."""
        terms, terminated = self.advance_with_terms(actions, rows)
        return np.asarray(sum(terms.values())), terminated

    def advance_with_terms(self, actions: Array, rows: TaskRows) -> tuple[dict[str, Array], BoolArray]:
        """`advance` with the reward's summands apart, (R,) each."""
        if not np.isfinite(actions).all():
            raise ValueError(f"actions of {self.family.id} must be finite numbers in [-1, 1], got {actions.tolist()}")
        if (self._elapsed[rows] < 0).any():
            raise ValueError(f"a task of {self.family.id} was stepped before its first reset")
        controls = np.minimum(np.maximum(actions, -1.0), 1.0) * self.control_scale  # (R, A)
        with collect_warnings() as messages:
            self._step_physics(controls, rows)
        if messages:
            self._warn_of_divergence(messages[0])
        self._elapsed[rows] += 1
        state = self._gather(rows)
        track = self.family.track(state)  # (R, d)
        velocity = (track - self._track[rows]) / self.time_step
        self._track[rows] = track
        self._last[rows] = self.family.observe(state)
        parameters = self.parameters[rows]
        moments = (
            np.minimum(self._elapsed[rows], self.family.horizon) - 1
        )  # a bare environment may be stepped on and on
        self._signals[self._row_numbers[rows], moments] = self.family.success_signal(state, velocity, parameters)
        return self.family.reward_terms(state, velocity, controls, parameters), self.family.terminated(state)

    def _step_physics(self, controls: Array, rows: TaskRows) -> None:
        for control, row in zip(controls, self._row_numbers[rows], strict=True):
            data = self._data[row]
            self._controls[row][:] = control
            mujoco.mj_step(self.model, data, nstep=self.family.frame_skip)
            if self.family.reads_contact_forces:
                mujoco.mj_rnePostConstraint(self.model, data)

    def _warn_of_divergence(self, message: str) -> None:
        """One warning a batch: MuJoCo has one for each kind of number, episode and task."""
        if not self._has_diverged:
            self._has_diverged = True
            reason = message.split(" Time")[0]  # one text whenever it happens, so that Python's filters know it again
            warnings.warn(f"MuJoCo, {self.family.id}: {reason} (said once a batch)", RuntimeWarning, stacklevel=2)

    @property
    def first_data(self) -> mujoco.MjData:
        """The state of row 0, for a renderer. It shows what is stepped: it is no copy."""
        return self._data[0]

    def observation(self, row: int) -> FloatArray:
        """What row `row` showed last, (O,)."""
        observation: FloatArray = self._last[row].copy()
        return observation

    def close(self) -> None:
        """Frees the simulators."""
        for views in (self._data, self._controls, *self._views):
            views.clear()

    def save(self) -> Mapping[str, Array]:
        """Physics (K, n), steps of the running episodes (K,), last observations (K, O), tracked points (K, d), and what
        the measure of success has read so far (K, H)."""
        physics = np.zeros((self.num_tasks, mujoco.mj_stateSize(self.model, PHYSICS)))
        for data, row in zip(self._data, physics, strict=True):
            mujoco.mj_getState(self.model, data, row, PHYSICS)
        return {
            "physics": physics,
            "elapsed": self._elapsed.copy(),
            "observations": self._last.copy(),
            "track": self._track.copy(),
            "signals": self._signals.copy(),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes on from what `save` gave.

        Raises:
            ValueError: it was saved by a batch of another size or family.
        """
        shapes = {name: values.shape for name, values in self.save().items()}
        actual = {name: np.asarray(values).shape for name, values in state.items()}
        if actual != shapes:
            raise ValueError(
                f"the state has {actual}, a batch of {self.num_tasks} tasks of {self.family.id} has {shapes}"
            )
        for data, row in zip(self._data, np.array(state["physics"], dtype=np.float64), strict=True):
            mujoco.mj_setState(self.model, data, row, PHYSICS)
        self._elapsed[:] = state["elapsed"]
        self._last[:] = state["observations"]
        self._track[:] = state["track"]
        self._signals[:] = state["signals"]

    def _fields(self) -> tuple[str, ...]:
        """The arrays of an `MjData` that the family's formulas read, in the order of `PhysicsState`."""
        forces = ("cfrc_ext",) if self.family.reads_contact_forces else ()
        return ("qpos", "qvel", "xpos", *forces)

    def _gather(self, rows: TaskRows | int) -> PhysicsState:
        """Copies of what the formulas read, (R, …) each: MuJoCo's arrays are views that the next step overwrites."""
        if isinstance(rows, int):
            positions, velocities, bodies, *forces = (views[rows].copy() for views in self._views)
        else:
            positions, velocities, bodies, *forces = (
                np.concatenate(views).reshape(self.num_tasks, *views[0].shape)[rows] for views in self._views
            )
        contact_forces = forces[0] if forces else np.zeros((*positions.shape[:-1], 0, 6))
        return PhysicsState(positions, velocities, bodies[..., self._bodies, :], contact_forces)
