-- Put frames back to the front of a queue, whatever its capacity.
--
-- ARGV, from the second on, the last frame first: when it expires, as it stands in the queue, or empty; the frame.
--
-- Also while the server has no memory left: they have just been taken off it. Hence the flag in front, see scripts.py.

local queue = KEYS[1]     -- list, of a reader
local lifetime = ARGV[1]  -- milliseconds a message lives, where it is not said when it expires

local stamp = stamp_of(lifetime)
local length
for at = 2, #ARGV, 2 do
    local expires, frame = ARGV[at], ARGV[at + 1]
    length = redis.call('LPUSH', queue, (expires == '' and stamp or expires) .. frame)
end
keep(queue, length == (#ARGV - 1) / 2, lifetime)
