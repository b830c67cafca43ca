"""A filter of system calls, as the kernel's small machine reads it: for x86-64 and AArch64.

It allows what NumPy and JAX need and denies what reaches beyond a process: other processes' memory,
name spaces, mounts, and kernel objects that no limit counts, the buffers of sockets among them.
"""

import platform
import struct

# Offsets in what the kernel shows the filter: number, architecture, low half of the arguments.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
LOAD, EQUAL, ABOVE, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, DENY, KILL = 0x7FFF0000, 0x00050000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
# clone's flags that make name spaces: mount, cgroup, uts, ipc, user, pid, net, time.
NAMESPACES = 0x7E020000 | 0x80
# Of the 32-bit view of an x86-64 kernel, whose numbers would pass by the list.
X32 = 0x40000000

#: name: (x86-64, AArch64); None where the architecture has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "personality": (135, 92),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
}
#: No family of sockets: what they buffer is memory of the kernel's, which is nobody's.
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
CLONE, CLONE3 = (56, 220), (435, 435)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def program(machine: str | None = None) -> bytes:
    """The filter for a machine, this one by default.

    Raises:
        ValueError: for a machine other than x86-64 and AArch64.
    """
    machine = machine or platform.machine()
    if machine not in MACHINES:
        raise ValueError(f"machine must be x86_64 or aarch64, got {machine}")
    column, audit = MACHINES[machine]
    lines: list[tuple[int, int, int, int]] = []

    def refuse(error: int) -> None:
        lines.append((RETURN, 0, 0, DENY | error))

    lines += [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (ABOVE, 0, 1, X32),
    ]
    refuse(ENOSYS)
    for numbers in DENIED.values():
        if (number := numbers[column]) is not None:
            lines.append((EQUAL, 0, 1, number))
            refuse(EPERM)
    # Its flags lie in memory, where a filter cannot look; glibc then uses clone.
    lines.append((EQUAL, 0, 1, CLONE3[column]))
    refuse(ENOSYS)
    lines += [
        (EQUAL, 1, 0, SOCKET[column]),
        (EQUAL, 0, 1, SOCKETPAIR[column]),
        (RETURN, 0, 0, DENY | EAFNOSUPPORT),
        (EQUAL, 0, 3, CLONE[column]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_BIT, 0, 1, NAMESPACES),
        (RETURN, 0, 0, DENY | EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
