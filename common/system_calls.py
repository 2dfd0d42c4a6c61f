"""The system calls that no reader of a document needs, and that would let it out: see common/confinement.py.

By name, with their numbers on x86_64 (arch/x86/entry/syscalls/syscall_64.tbl of Linux) and on aarch64
(include/uapi/asm-generic/unistd.h), which lacks those marked with None.
"""

from __future__ import annotations

from typing import Final

Numbers = tuple[int | None, int | None]

DENIED: Final[dict[str, Numbers]] = {
    # Network. What io_uring is asked for passes by every filter.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Processes and threads, and leaving the group that is killed with the child.
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "clone3": (435, 435),
    "execve": (59, 221),
    "execveat": (322, 281),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "unshare": (272, 97),
    "setns": (308, 268),
    "personality": (135, 92),
    # Other processes of the same user: their memory, signals to them, their share of the machine.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    # Attributes of files, which Landlock does not guard.
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    # Memory that no limit counts, some of which outlives the process.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mq_open": (240, 180),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    # Parts of the kernel that are open to everybody, and that have been the way out more than once.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "modify_ldt": (154, None),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
}
# Only with the process itself, or 0 for it or its group, as the first argument: abort(3) must work.
TO_ITSELF: Final[dict[str, Numbers]] = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "prlimit64": (302, 261),
}
# Not with these as the second argument, which have the kernel send signals to whomever one likes: F_SETOWN and
# F_SETOWN_EX (<asm-generic/fcntl.h>), FIOSETOWN and SIOCSPGRP (<asm-generic/sockios.h>).
EXCEPT: Final[dict[str, tuple[Numbers, tuple[int, ...]]]] = {
    "fcntl": ((72, 25), (8, 15)),
    "ioctl": ((16, 29), (0x8901, 0x8902)),
}
# set_mempolicy_home_node, the last of Linux 5.17 to 6.4. Later ones fail as there, and so do those of x32.
LAST_KNOWN: Final = 450
