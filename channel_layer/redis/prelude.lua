-- What the scripts have in common; stands in front of each of them, see scripts.py.

local now = redis.call('TIME')
-- The server's time in milliseconds: clocks of senders and receivers do not matter.
local ms = now[1] * 1000 + now[2] / 1000

-- Milliseconds that a queue outlives what lies on it, so that a reader finds what has expired and counts it.
local AFTER = 10000

-- What stands in front of a frame on a queue: 8 bytes with the time at which it expires.
local function stamp_of(lifetime)
    return struct.pack('>d', ms + lifetime)
end

-- Take from the front of a queue that is ``over`` its capacity what takes no room: what has expired, and what is none
-- of ours. The oldest stand in front. Returns how much it is over then.
local function make_room(queue, over)
    while over > 0 do
        local oldest = redis.call('LINDEX', queue, 0)
        if not oldest or (#oldest >= 8 and struct.unpack('>d', oldest) > ms) then
            break
        end
        redis.call('LPOP', queue)
        over = over - 1
    end
    return math.max(0, over)
end

-- Count what was sent and what found no room in a hash of statistics. It begins anew after ``lifetime`` milliseconds
-- in which nothing was counted for the first time or refused; without a lifetime it stays.
local function account(statistics, sent, full, lifetime)
    local changed = full > 0
    if sent > 0 and redis.call('HINCRBY', statistics, 'sent', sent) == sent then
        redis.call('HSETNX', statistics, 'since', now[1])
        changed = true
    end
    if full > 0 then
        redis.call('HINCRBY', statistics, 'full', full)
    end
    if changed and lifetime then
        redis.call('PEXPIRE', statistics, lifetime)
    end
end

-- Let a queue live for at least so many milliseconds more. Others may have stored there for longer: a lifetime is only
-- ever prolonged. Redis takes no lifetime at all, which a new key has, for an endless one.
local function keep(queue, is_new, lifetime)
    if is_new then
        redis.call('PEXPIRE', queue, lifetime + AFTER)
    else
        redis.call('PEXPIRE', queue, lifetime + AFTER, 'GT')
    end
end

